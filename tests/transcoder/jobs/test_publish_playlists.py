"""A lesson becomes visible last of all: what its master names is there before it."""

import signal
from pathlib import Path

from tests.transcoder.jobs.harness import Bench

#: Of two renditions and one sound: their playlists, and those of single pictures.
PLAYLISTS = 5


def test_the_master_waits_for_all_playlists_and_for_a_segment_that_was_lost(bench: Bench, short_film: Path) -> None:
    course_id, _ = bench.submit(short_film)
    with bench.worker("transcoder.before_publish=kill*1") as worker:
        assert worker.wait(120) == -signal.SIGKILL
    lesson = f"hls/{course_id}/"
    (lost,) = (key for key in bench.storage.list(lesson) if key.endswith("240p/00001.m4s"))
    bench.storage.remove(lost)

    def whole() -> list[str]:
        return [key for key in bench.storage.list(lesson) if "/first/" not in key]

    with bench.worker("transcoder.before_master=delay:3600"):
        bench.wait(
            lambda: sum(key.endswith(".m3u8") for key in whole()) == PLAYLISTS, "not all playlists are written", 120
        )
        assert lost in whole(), "the lost segment is made again"
        assert not [key for key in whole() if key.endswith("master.m3u8")]
        assert bench.course(course_id)[0] == "processing"
