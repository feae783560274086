"""The second scene of the demonstration: a lesson is uploaded with a ticket, and can be watched seconds later."""

import gzip
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3
import httpx

from local.demo.school import School

FILM_SECONDS = 15
#: How long the film may take to become a lesson on a slow machine.
MADE_WITHIN_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Lesson:
    """What became of the film; times from the moment its upload was complete."""

    film_bytes: int
    first_seconds: float
    whole_seconds: float
    renditions: tuple[str, ...]
    master_key: str
    course_id: int


def upload_film(environment: Mapping[str, str], school: School) -> Lesson:
    """Upload a film as a teacher's browser does, and wait for its lesson. Raises RuntimeError where none is made."""
    course_id = school.open_course("Optics")
    film = _make_film()
    token = environment["NOUBA_API_TOKENS"].split(",")[0]
    with httpx.Client(
        base_url=environment["GATEWAY_URL"], headers={"Authorization": f"Bearer {token}"}, timeout=30
    ) as gateway:
        wish = {"filename": "optics.mp4", "size": len(film), "content_type": "video/mp4"}
        ticket = gateway.post(f"/api/courses/{course_id}/video", json=wish).raise_for_status().json()
        httpx.put(ticket["url"], content=film, headers=ticket["headers"], timeout=60).raise_for_status()
        done = {"upload_id": ticket["upload_id"], "key": ticket["key"]}
        gateway.post(f"/api/courses/{course_id}/video/complete", json=done).raise_for_status()
    began, first_seconds = time.monotonic(), 0.0
    while (elapsed := time.monotonic() - began) < MADE_WITHIN_SECONDS:
        status, master_key = school.course(course_id)
        if master_key and not first_seconds:
            first_seconds = elapsed
        if status == "failed":
            break
        if status == "completed" and master_key:
            return Lesson(
                len(film), first_seconds, elapsed, _renditions(environment, master_key), master_key, course_id
            )
        time.sleep(0.05)
    raise RuntimeError(f"the film did not become a lesson: course {course_id} is {school.course(course_id)[0]}")


def _make_film() -> bytes:
    """A test picture that moves, with a tone, as a camera would save it."""
    with tempfile.TemporaryDirectory(prefix="nouba-demo-") as folder:
        film = Path(folder) / "film.mp4"
        picture = ["-f", "lavfi", "-i", f"testsrc2=size=640x360:rate=25:duration={FILM_SECONDS}"]
        sound = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={FILM_SECONDS}"]
        coding = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
        command = ["ffmpeg", "-v", "error", *picture, *sound, *coding, str(film)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return film.read_bytes()


def _renditions(environment: Mapping[str, str], master_key: str) -> tuple[str, ...]:
    client = boto3.client(
        "s3",
        endpoint_url=environment["NOUBA_S3_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    body = client.get_object(Bucket=environment["NOUBA_S3_BUCKET"], Key=master_key)["Body"].read()
    playlist = (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode()
    return tuple(re.findall(r"#EXT-X-STREAM-INF:.*?RESOLUTION=(\d+x\d+)", playlist))
