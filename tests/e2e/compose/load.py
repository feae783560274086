"""What a school does, played against the containers: a lesson is uploaded, a day is counted."""

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import httpx

from tests.e2e.compose.containers import Containers
from tests.waiting import wait_until


def count_yesterday(containers: Containers) -> httpx.Response:
    """Have somebody register yesterday, and read the day from the API once it is counted."""
    yesterday = (datetime.now(ZoneInfo("Africa/Algiers")) - timedelta(days=1)).date().isoformat()
    registered = containers.sql(
        "nouba_school", "INSERT INTO users (name, created_at) VALUES ('Student', now() - interval '1 day')"
    )
    assert registered.returncode == 0, registered.stderr
    # a scheduler checks once for what is due
    containers.run("restart", "stats-scheduler")
    client = httpx.Client(base_url=containers.stats_url, headers={"Authorization": f"Bearer {containers.token}"})

    def answered() -> httpx.Response | None:
        answer = client.get(f"/api/stats/{yesterday}")
        return answer if answer.status_code == httpx.codes.OK else None

    answer = wait_until(answered, 60)
    assert answer is not None
    return answer


def make_lesson(containers: Containers) -> tuple[str, str]:
    """Upload a lesson and wait for its end; the course's status then, and its video."""
    return await_lesson(containers, upload_lesson(containers))


def upload_lesson(containers: Containers, film: bytes | None = None) -> str:
    """Upload a film, six seconds unless given, by its ticket, as a browser would; the course's id."""
    course = containers.sql("nouba_school", "INSERT INTO courses (title) VALUES ('Optics') RETURNING id").stdout.strip()
    film = film or containers.film
    client = httpx.Client(base_url=containers.gateway_url, headers={"Authorization": f"Bearer {containers.token}"})
    wish = {"filename": "lesson.mp4", "size": len(film), "content_type": "video/mp4"}
    ticket = _again_while_away(lambda: client.post(f"/api/courses/{course}/video", json=wish)).json()
    assert ticket["url"].startswith(containers.s3_url)
    _again_while_away(lambda: httpx.put(ticket["url"], content=film, headers=ticket["headers"]))
    reported = {"upload_id": ticket["upload_id"], "key": ticket["key"]}
    _again_while_away(lambda: client.post(f"/api/courses/{course}/video/complete", json=reported))
    return course


def _again_while_away(send: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer; sent again where a server behind is away for a moment, as Retry-After asks for."""

    def answered() -> httpx.Response | None:
        try:
            answer = send()
        except httpx.TransportError:
            return None
        return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer.raise_for_status()

    answer = wait_until(answered, 30)
    assert answer is not None
    return answer


def await_lesson(containers: Containers, course: str, timeout_seconds: float = 180) -> tuple[str, str]:
    """The course's status once its video has come to an end, and its video."""

    def shown() -> list[str]:
        found = f"SELECT transcoding_status, video_ref FROM courses WHERE id = {int(course)}"  # noqa: S608
        return containers.sql("nouba_school", found).stdout.strip().split("|")

    wait_until(lambda: shown()[0] in ("completed", "failed"), timeout_seconds)
    status, key = shown()
    return status, key
