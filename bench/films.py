"""Makes the films that the transcoder is measured with: one like nature, one like slides, each with sound."""

from pathlib import Path

from bench.running import run

PICTURES_PER_SECOND = 25

#: Pictures as ffmpeg's own sources make them. Movement everywhere with grain on it is what cameras give an encoder;
#: a page that stands for six seconds is what a recorded screen does.
_PICTURES = {
    "natural": (
        "mandelbrot=size={half_width}x{half_height}:rate=25:maxiter=600:end_scale=0.02:end_pts=1600,"
        "scale={width}:{height}:flags=bilinear,noise=alls=7:allf=t"
    ),
    "slides": "testsrc2=size={width}x{height}:rate=1/6,fps=25",
}
KINDS = tuple(_PICTURES)


def make(kind: str, path: Path, *, height: int, seconds: int) -> Path:
    """A film of H.264 and AAC, as a phone or a screen recorder uploads it."""
    width = height * 16 // 9
    picture = _PICTURES[kind].format(width=width, height=height, half_width=width // 2, half_height=height // 2)
    call = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", picture]
    call += ["-f", "lavfi", "-i", "anoisesrc=color=pink:amplitude=0.2:sample_rate=48000"]
    call += ["-t", str(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-crf", "20", "-g", "50"]
    call += ["-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "128k", "-ac", "2", "-movflags", "+faststart"]
    run([*call, path], {})
    return path


def copy(film: Path, path: Path, title: str) -> Path:
    """The same film in other bytes: the transcoder does no work twice for the same ones."""
    call = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(film), "-c", "copy", "-metadata", f"title={title}"]
    run([*call, path], {})
    return path
