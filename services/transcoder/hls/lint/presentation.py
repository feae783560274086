"""A lesson as a player sees it: its playlists, and the measured bytes behind them."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from services.transcoder.hls.lint.fetch import MAX_DECOMPRESSED_BYTES, Fetched, Fetcher, FetchError, resolved
from services.transcoder.hls.lint.m3u8 import Entry, Line, Playlist
from services.transcoder.hls.mp4 import Fragment, Track, fragments, track_of
from shared.runtime.bounded_decompression import unzipped

if TYPE_CHECKING:
    from services.transcoder.hls.lint.film_signals import Film


@dataclass(frozen=True)
class Measured:
    """One segment and what is in it."""

    entry: Entry
    size: int
    data: bytes
    fragments: list[Fragment]

    @property
    def start(self) -> int:
        return self.fragments[0].time

    @property
    def duration(self) -> int:
        return sum(fragment.duration for fragment in self.fragments)

    @property
    def samples(self) -> int:
        return sum(len(fragment.samples) for fragment in self.fragments)


class Media:
    """One media playlist with its bytes."""

    def __init__(self, playlist: Playlist, fetcher: Fetcher, name: str) -> None:
        self.playlist = playlist
        self.name = name
        self._fetcher = fetcher

    @cached_property
    def initialisation(self) -> bytes | None:
        """The clear bytes of the first EXT-X-MAP."""
        entry = next((entry for entry in self.playlist.entries if entry.map), None)
        if entry is None or entry.map is None:
            return None
        # the key that stands before the map holds for it, not the one before the segment
        before = [line for line in self.playlist.tags("EXT-X-KEY") if line.number < entry.map.number]
        data = self.fetch(entry.map.attributes["URI"]).data
        return self._clear(data, before[-1] if before else None, 0)

    @cached_property
    def track(self) -> Track | None:
        return track_of(self.initialisation) if self.initialisation else None

    @cached_property
    def segments(self) -> list[Measured]:
        """Every segment, decrypted and measured."""
        found = []
        first = self.playlist.number("EXT-X-MEDIA-SEQUENCE") or 0
        whole = "EXT-X-I-FRAMES-ONLY" not in {line.name for line in self.playlist.lines}
        for number, entry in enumerate(self.playlist.entries, first):
            data = self.fetch(entry.uri).data
            if entry.range:
                data = data[entry.range[0] : sum(entry.range)]
            clear = self._clear(data, entry.key, number)
            moofs = fragments(clear) if whole else []
            found.append(Measured(entry, len(data), clear, moofs))
        return found

    def fetch(self, uri: str) -> Fetched:
        return self._fetcher.get(resolved(self.playlist.uri, uri))

    @property
    def durations(self) -> list[Fraction]:
        return [entry.duration or Fraction(0) for entry in self.playlist.entries]

    def _clear(self, data: bytes, key: Line | None, number: int) -> bytes:
        if key is None or key.attributes.get("METHOD") != "AES-128":
            return data
        secret = self.fetch(key.attributes["URI"]).data
        iv_text = key.attributes.get("IV")
        iv = bytes.fromhex(iv_text[2:]) if iv_text else number.to_bytes(16, "big")
        decryptor = Cipher(algorithms.AES128(secret), modes.CBC(iv)).decryptor()
        # into memory of Python's: where cryptography's own allocation fails, it ends the process
        clear = bytearray(len(data) + 15)
        decryptor.update_into(data, clear)
        decryptor.finalize()
        padded = clear[len(data) - 1] if data else 0
        if not 1 <= padded <= 16 or clear[len(data) - padded : len(data)] != bytes([padded]) * padded:
            raise ValueError("Invalid padding bytes.")
        return bytes(memoryview(clear)[: len(data) - padded])


@dataclass(frozen=True)
class Variant:
    """One EXT-X-STREAM-INF: its attributes, its media playlist, and the sound that goes with it."""

    line: Line
    attributes: dict[str, str]
    media: Media
    sounds: list[Media]

    @property
    def has_picture(self) -> bool:
        return any(codec.startswith(_PICTURES) for codec in self.attributes.get("CODECS", "").split(","))

    @property
    def size(self) -> tuple[int, int]:
        width, _, height = self.attributes.get("RESOLUTION", "0x0").partition("x")
        return (int(width), int(height)) if width.isdigit() and height.isdigit() else (0, 0)


_PICTURES = ("avc", "hvc", "hev", "dvh", "av01")


class Presentation:
    """The whole lesson, loaded piece by piece as rules ask for it."""

    def __init__(self, address: str, fetcher: Fetcher, film: "Film | None" = None) -> None:
        self.address = address
        #: What the lesson was made of, where that is named.
        self.film = film
        self._fetcher = fetcher
        self._media: dict[str, Media] = {}

    @cached_property
    def master(self) -> Playlist:
        return self._playlist(self.address)

    @cached_property
    def variants(self) -> list[Variant]:
        found = []
        for line, uri in self.master.variants:
            if uri is not None:
                attributes = line.attributes
                tags = self._group(attributes.get("AUDIO"))
                sounds = [self.media(tag.attributes["URI"]) for tag in tags]
                found.append(Variant(line, attributes, self.media(uri), sounds))
        return found

    @cached_property
    def pictures(self) -> list[Variant]:
        """The variants that show something."""
        return [variant for variant in self.variants if variant.has_picture]

    @cached_property
    def sounds(self) -> list[Media]:
        """All separate sound playlists, each once."""
        lines = [line for line in self.master.tags("EXT-X-MEDIA") if line.attributes.get("TYPE") == "AUDIO"]
        return [self.media(line.attributes["URI"]) for line in lines if "URI" in line.attributes]

    @cached_property
    def iframes(self) -> list[tuple[Line, Media]]:
        lines = self.master.tags("EXT-X-I-FRAME-STREAM-INF")
        return [(line, self.media(line.attributes["URI"])) for line in lines if "URI" in line.attributes]

    @property
    def regular(self) -> Iterator[Media]:
        """Every media playlist that is not for scanning, each once."""
        yield from {media.name: media for media in [*(v.media for v in self.variants), *self.sounds]}.values()

    @property
    def all_media(self) -> Iterator[Media]:
        yield from self.regular
        yield from {media.name: media for _, media in self.iframes}.values()

    def media(self, uri: str) -> Media:
        if uri not in self._media:
            self._media[uri] = Media(self._playlist(resolved(self.address, uri)), self._fetcher, uri)
        return self._media[uri]

    def fetched(self, media: Media | None = None) -> Fetched:
        """How a playlist came: the master's unless `media` is named."""
        return self._fetcher.get(media.playlist.uri if media else self.address)

    def _group(self, name: str | None) -> list[Line]:
        tags = [line for line in self.master.tags("EXT-X-MEDIA") if line.attributes.get("TYPE") == "AUDIO"]
        return [line for line in tags if line.attributes.get("GROUP-ID") == name and "URI" in line.attributes]

    def _playlist(self, address: str) -> Playlist:
        data = self._fetcher.get(address).data
        # a copy of what is stored gzipped in S3
        text = unzipped(data, MAX_DECOMPRESSED_BYTES) if data.startswith(b"\x1f\x8b") else data
        if len(text) > MAX_DECOMPRESSED_BYTES:
            raise FetchError(f"{address} is larger than {MAX_DECOMPRESSED_BYTES >> 20} MiB.")
        return Playlist.parse(address, text.decode("utf-8", "replace"))
