"""`at <instant> <command> ...`: runs `nouba` as if it were `instant` now; the time goes on from there.

Both clocks that the services and periodiq check are moved (time_machine), those of timeouts are not.
"""

import sys
from datetime import datetime

import time_machine

from shared.cli import main

if __name__ == "__main__":
    with time_machine.travel(datetime.fromisoformat(sys.argv[1]), tick=True):
        main(sys.argv[2:])
