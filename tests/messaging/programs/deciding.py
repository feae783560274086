"""One operator's replay of everything that is dead, to be killed half-way: `deciding <database_url> <who>`."""

import sys

from shared.operations.dead_letters.queries import DeadFilter
from shared.operations.dead_letters.replay import Decision, replay
from shared.runtime.database import build_engine


def main(database_url: str, who: str) -> None:
    engine = build_engine(database_url, pool_size=1)
    print(replay(engine, Decision(who=who, chosen=DeadFilter())).done, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
