"""How the tests run: servers, selection, summary and budget. `python -m tests.suite --help` is behind `make test`."""
