"""Encrypts a lesson's files with AES-128 as HLS wants it; ffmpeg cannot do that with fragmented MP4."""

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from services.transcoder.hls.playlists import Lock
from services.transcoder.hls.segment_metadata import INIT_NAME, RenditionSlice, Segment

KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Key:
    """The sixteen bytes, and the address where an authorised player gets them."""

    secret: bytes = field(repr=False)
    uri: str

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError("An AES-128 key has 16 bytes.")

    @property
    def lock(self) -> Lock:
        """What playlists declare about the key: never the key itself."""
        # made of the key, so that two runs give equal bytes
        return Lock(self.uri, hmac.digest(self.secret, b"nouba initialisation", "sha256")[:16])


def encrypt_part(part: RenditionSlice, folder: Path, key: Key) -> RenditionSlice:
    """Encrypt all files of `part` in `folder`: sound, or pictures with at most one key frame in a segment."""
    encrypt_initialisation(folder, key)
    return replace(part, segments=tuple(encrypt_segment(segment, folder, key, 1) for segment in part.segments))


def encrypt_initialisation(folder: Path, key: Key) -> None:
    """Encrypt the initialisation in `folder`, which must be clear."""
    init = folder / INIT_NAME
    init.write_bytes(encrypted(init.read_bytes(), key.secret, key.lock.init_iv))


def encrypt_segment(segment: Segment, folder: Path, key: Key, groups_per_segment: int) -> Segment:
    """Encrypt `segment` in `folder` in place, and put each of its key frames into a file of its own.

    Returns the facts of what stands there now: size and hash changed. It must not be done twice.
    """
    path = folder / segment.name
    clear = path.read_bytes()
    frames = []
    for place, frame in enumerate(segment.key_frames):
        # an I-frame playlist counts its entries from 0 over the whole rendition, and the number is the IV
        number = segment.number * groups_per_segment + place
        data = encrypted(clear[frame.offset : frame.offset + frame.size], key.secret, number.to_bytes(16, "big"))
        name = f"i{number:06d}.m4s"
        (folder / name).write_bytes(data)
        frames.append(replace(frame, file=name, offset=0, size=len(data)))
    data = encrypted(clear, key.secret, segment.number.to_bytes(16, "big"))
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return replace(segment, size_bytes=len(data), sha256=digest, key_frames=tuple(frames))


def encrypted(data: bytes, secret: bytes, iv: bytes) -> bytes:
    """AES-128-CBC with PKCS #7 padding (RFC 8216, 4.3.2.4)."""
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES128(secret), modes.CBC(iv)).encryptor()
    return encryptor.update(padder.update(data) + padder.finalize()) + encryptor.finalize()


def decrypted(data: bytes, secret: bytes, iv: bytes) -> bytes:
    """What `encrypted` was given. Raises ValueError where `data` is not what it returned."""
    unpadder = padding.PKCS7(128).unpadder()
    decryptor = Cipher(algorithms.AES128(secret), modes.CBC(iv)).decryptor()
    return unpadder.update(decryptor.update(data) + decryptor.finalize()) + unpadder.finalize()
