"""The second scene of the demonstration: a teacher uploads a film and its captions, and students watch the lesson."""

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

from local.demo.school_database import School

FILM_SECONDS = 15
#: By language, as WebVTT.
CAPTIONS = {
    "ar": """WEBVTT

00:00.500 --> 00:05.000
مرحبا بكم في درس البصريات.

00:05.000 --> 00:10.000
ينكسر الضوء عندما يدخل إلى الماء.

00:10.000 --> 00:14.800
زاوية الانكسار أصغر من زاوية الورود.
""",
    "fr": """WEBVTT

00:00.500 --> 00:05.000
Bienvenue au cours d'optique.

00:05.000 --> 00:10.000
La lumière se réfracte en entrant dans l'eau.

00:10.000 --> 00:14.800
L'angle de réfraction est plus petit que l'angle d'incidence.
""",
}
#: How long the film may take to become a lesson on a slow machine.
MADE_WITHIN_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Lesson:
    """What became of the film; times from the moment its upload was complete."""

    film_bytes: int
    first_seconds: float
    whole_seconds: float
    renditions: tuple[str, ...]
    captions: tuple[str, ...]
    master_key: str
    course_id: int


def upload_film(environment: Mapping[str, str], school: School) -> Lesson:
    """Upload a film and its captions as a teacher's browser does, and wait for the captioned lesson.

    Raises RuntimeError where none is made.
    """
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
        began = time.monotonic()
        for language, body in CAPTIONS.items():
            gateway.put(f"/api/v1/courses/{course_id}/captions/{language}", content=body.encode()).raise_for_status()
    first_seconds = whole_seconds = 0.0
    while (elapsed := time.monotonic() - began) < MADE_WITHIN_SECONDS:
        status, master_key = school.course(course_id)
        if master_key and not first_seconds:
            first_seconds = elapsed
        if status == "failed":
            break
        if status == "completed" and master_key:
            whole_seconds = whole_seconds or elapsed
            master = _read(environment, master_key)
            captions = re.findall(r'#EXT-X-MEDIA:TYPE=SUBTITLES.*?LANGUAGE="([^"]+)"', master)
            if set(captions) == set(CAPTIONS):
                renditions = re.findall(r"#EXT-X-STREAM-INF:.*?RESOLUTION=(\d+x\d+)", master)
                return Lesson(
                    film_bytes=len(film),
                    first_seconds=first_seconds,
                    whole_seconds=whole_seconds,
                    renditions=tuple(renditions),
                    captions=tuple(captions),
                    master_key=master_key,
                    course_id=course_id,
                )
        time.sleep(0.05)
    raise RuntimeError(f"the film did not become a lesson: course {course_id} is {school.course(course_id)[0]}")


def _make_film() -> bytes:
    """Light that is refracted at the surface of water, with a tone, as a screen recorder would save it."""
    # 45 degrees in air are 32 in water: the tangent is 0.627
    ray = "lt(abs(X-320-(Y-180)*if(lt(Y,180),1,0.627)),3)"
    normal = "lt(abs(X-320),1)*lt(mod(Y,16),8)"
    still = (
        "color=c=0x10263f:s=640x360:r=25:d=0.04,drawbox=y=180:h=180:c=0x1f6f9c:t=fill,format=gbrp,"
        f"geq=r='if({ray},255,if({normal},200,r(X,Y)))':g='if({ray},214,if({normal},200,g(X,Y)))'"
        f":b='if({ray},90,if({normal},200,b(X,Y)))',loop=loop=-1:size=1,setpts=N/25/TB"
    )
    # a photon takes five seconds from the left edge to the ground
    x, y = "if(lt(mod(t,5),2.5),140+72*mod(t,5),320+45.14*(mod(t,5)-2.5))-6", "72*mod(t,5)-6"
    picture = f"{still}[still];color=c=white:s=12x12:r=25[photon];[still][photon]overlay=x='{x}':y='{y}',format=yuv420p"
    with tempfile.TemporaryDirectory(prefix="nouba-demo-") as folder:
        film = Path(folder) / "film.mp4"
        sources = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=frequency=440"]
        coding = ["-t", str(FILM_SECONDS), "-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac"]
        command = ["ffmpeg", "-v", "error", *sources, *coding, str(film)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return film.read_bytes()


def _read(environment: Mapping[str, str], key: str) -> str:
    """A playlist in S3."""
    client = boto3.client(
        "s3",
        endpoint_url=environment["NOUBA_S3_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    body = client.get_object(Bucket=environment["NOUBA_S3_BUCKET"], Key=key)["Body"].read()
    return (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode()
