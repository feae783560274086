"""Runs the tests: `make test` each behaviour, `make test-all` all proofs, `make test-nightly` more of the same."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]
ROOT: Final = TESTS.parent
_CORES: Final = os.cpu_count() or 2
#: The tests of `make test` wait for servers for two thirds of their time, so that four processes fill two cores; films
#: and histories, which the others add, do not wait.
PROCESSES: Final = {"quick": max(2, _CORES * 2), "all": max(2, _CORES * 3 // 2), "nightly": max(2, _CORES * 3 // 2)}
_MARKED: Final = {
    "quick": "not slow and not nightly and not lint",
    "all": "not nightly and not lint",
    "nightly": "nightly",
    "lint": "lint",
}


def parts() -> dict[str, list[Path]]:
    """Every folder of tests by its name; a name can stand for several folders."""
    found: dict[str, list[Path]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        for folder in file.parents:
            if folder == TESTS:
                break
            if folder not in found.setdefault(folder.name, []):
                found[folder.name].append(folder)
    return found


def command(selection: str, part: str, arguments: list[str]) -> list[str]:
    """The command line of pytest."""
    line = [sys.executable, "-m", "pytest", "-q", "-m", _MARKED[selection]]
    if selection == "quick":
        line += ["--hypothesis-profile", "quick"]
    if processes := PROCESSES.get(selection):
        line += ["-n", str(processes), "--dist", "loadgroup", "--no-loadscope-reorder", "--max-worker-restart", "0"]
    return [*line, *(str(folder.relative_to(ROOT)) for folder in parts().get(part, ())), *arguments]


def main() -> int:
    """`python -m tests.suite quick|all|nightly|lint [--part NAME] [pytest's own arguments]`"""
    selection, *arguments = sys.argv[1:]
    part = ""
    if arguments[:1] == ["--part"]:
        part, arguments = arguments[1], arguments[2:]
    if part and part not in parts():
        print(f"There is no part {part!r}. PART is one of: {', '.join(sorted(parts()))}.", file=sys.stderr)
        return 2
    try:
        return subprocess.run(command(selection, part, arguments), cwd=ROOT, check=False).returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
