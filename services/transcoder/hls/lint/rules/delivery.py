"""Rules on how a server delivers a lesson: redirects, compression, content types; a folder on disk keeps them all."""

from collections.abc import Iterator

from services.transcoder.hls.lint.fetch import is_http
from services.transcoder.hls.lint.presentation import Presentation
from services.transcoder.hls.lint.rules import must, should

_PLAYLIST_TYPES = ("application/vnd.apple.mpegurl", "audio/mpegurl", "application/x-mpegurl")
_MEDIA_TYPES = {"mp4": ("video/mp4", "audio/mp4"), "m4s": ("video/iso.segment", "video/mp4", "audio/mp4")}


@must("Apple 8.18", "Media is delivered without redirects")
def no_redirects(lesson: Presentation) -> Iterator[str]:
    for media in lesson.regular if is_http(lesson.address) else ():
        for entry in media.playlist.entries:
            if media.fetch(entry.uri).redirected:
                yield f"{media.name}: {entry.uri}"
                break


@must("Apple 10.1", "Playlists are delivered compressed (gzip)")
def compressed(lesson: Presentation) -> Iterator[str]:
    if is_http(lesson.address):
        for media in (None, *lesson.all_media):
            if lesson.fetched(media).headers.get("content-encoding") != "gzip":
                yield media.name if media else "the master"


@should("Apple 10.4", "Playlists have the type application/vnd.apple.mpegurl")
def playlist_types(lesson: Presentation) -> Iterator[str]:
    if is_http(lesson.address):
        for media in (None, *lesson.all_media):
            declared = lesson.fetched(media).headers.get("content-type", "")
            if declared.partition(";")[0].strip().lower() not in _PLAYLIST_TYPES:
                yield f"{media.name if media else 'the master'}: {declared or 'none'}"


@should("Apple 10.4", "Media has its own type (video/mp4, video/iso.segment)")
def media_types(lesson: Presentation) -> Iterator[str]:
    for media in lesson.regular if is_http(lesson.address) else ():
        for entry in media.playlist.entries[:1]:
            ending = entry.uri.partition("?")[0].rpartition(".")[2]
            declared = media.fetch(entry.uri).headers.get("content-type", "").partition(";")[0]
            if ending in _MEDIA_TYPES and declared not in _MEDIA_TYPES[ending]:
                yield f"{media.name}: {entry.uri} is {declared or 'none'}"
