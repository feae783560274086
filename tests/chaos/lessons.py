"""Teachers who upload films all the while, and what must be readable in the end."""

import gzip
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from local.s3 import BUCKET
from tests.chaos.cluster import TOKEN, House

FILM_SECONDS = 8
_MAX_WAIT_SECONDS = 3.0


def make_film(path: Path) -> Path:
    """Eight seconds of a test picture with a tone."""
    picture = ["-f", "lavfi", "-i", f"testsrc2=size=320x180:rate=25:duration={FILM_SECONDS}"]
    sound = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={FILM_SECONDS}"]
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *picture, *sound, *coding, str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return path


class Teacher:
    """Uploads the same film for one course after the other, as a browser does; what fails is begun again."""

    def __init__(self, house: House, film: Path, courses: list[int], stopping: threading.Event) -> None:
        self._house, self._film, self._courses, self._stopping = house, film.read_bytes(), courses, stopping
        self.uploaded = 0
        self.attempts = 0

    def teach(self, seconds: float) -> None:
        """Upload for all courses, evenly over `seconds`."""
        began = time.monotonic()
        for place, course_id in enumerate(self._courses):
            self._stopping.wait(max(0.0, began + place / len(self._courses) * seconds - time.monotonic()))
            self._upload(course_id)

    def _upload(self, course_id: int) -> None:
        wait = 0.2
        while not self._stopping.is_set():
            self.attempts += 1
            port = self._house.gateway_ports[self.attempts % 2]
            try:
                with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as gateway:
                    self._upload_once(gateway, course_id)
            except httpx.HTTPError:
                self._stopping.wait(wait)
                wait = min(_MAX_WAIT_SECONDS, wait * 2)
            else:
                self.uploaded += 1
                return

    def _upload_once(self, gateway: httpx.Client, course_id: int) -> None:
        gateway.headers["Authorization"] = f"Bearer {TOKEN}"
        wish = {"filename": "lesson.mp4", "size": len(self._film), "content_type": "video/mp4"}
        ticket = gateway.post(f"/api/courses/{course_id}/video", json=wish).raise_for_status().json()
        httpx.put(ticket["url"], content=self._film, headers=ticket["headers"], timeout=10).raise_for_status()
        done = {"upload_id": ticket["upload_id"], "key": ticket["key"]}
        gateway.post(f"/api/courses/{course_id}/video/complete", json=done).raise_for_status()


class Viewer:
    """Reads a lesson as a player does: the master, its playlists, and that every file they name is there."""

    def __init__(self, house: House) -> None:
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=house.s3.url,
            aws_access_key_id=house.s3.access_key_id,
            aws_secret_access_key=house.s3.secret_access_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    def faults(self, master_key: str) -> list[str]:
        """What a viewer would miss."""
        folder = master_key.rpartition("/")[0] + "/"
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=folder)
        sizes = {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", [])}
        playlists, seen, faults = [master_key], set(), []
        while playlists:
            key = playlists.pop()
            if key in seen:
                continue
            seen.add(key)
            if not sizes.get(key):
                faults.append(f"{key} is not there")
                continue
            if not key.endswith(".m3u8"):
                continue
            text = self._text(key)
            if not text.startswith("#EXTM3U"):
                faults.append(f"{key} is no playlist")
            beside = key.rpartition("/")[0] + "/"
            playlists += [beside + name for name in _named(text)]
        if len(seen) < 5:
            faults.append(f"{master_key} names next to nothing")
        return faults

    def _text(self, key: str) -> str:
        body: bytes = self._client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode()


def _named(playlist: str) -> list[str]:
    lines = [line.strip() for line in playlist.splitlines()]
    named = [line for line in lines if line and not line.startswith("#")]
    named += re.findall(r'URI="([^"]+)"', playlist)
    return [name.partition("?")[0] for name in named]
