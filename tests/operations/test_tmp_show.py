import pytest, time
from tests.operations.test_duties import *
@pytest.mark.parametrize("name", COMMANDS)
def test_show(name, settings, tmp_path):
    try:
        with started(name, settings, tmp_path) as p:
            time.sleep(1.5)
            print("SHOW", repr(name), p.read(LATE))
    except AssertionError as e: print("SHOW", name, str(e)[-1500:])
