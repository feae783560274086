"""How alike a film and its lesson are to the eye: VMAF where an ffmpeg with libvmaf can be had, else SSIM."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import click

from local.errors import LocalError
from local.installers.vmaf import find_vmaf

_SCORES = {"VMAF": r"VMAF score: ([0-9.]+)", "SSIM": r"SSIM .*All:([0-9.]+)"}


@dataclass(frozen=True, slots=True)
class Meter:
    """A metric, and the program that has it."""

    metric: str
    program: Path

    @property
    def digits(self) -> int:
        return 2 if self.metric == "VMAF" else 4

    def compare(self, made: Path, film: Path) -> float:
        """The mean over all frames; `made` is a playlist or a file of the film's size."""
        # frame by frame: whole numbers in one time base, since a rounded time compares a frame with its neighbour
        measure = "libvmaf=n_threads=2" if self.metric == "VMAF" else "ssim"
        # ffmpeg converts one of two inputs whose colours are named differently, and none is what nobody names
        same = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709,settb=1/25,setpts=N"
        graph = f"[0:v]{same}[a];[1:v]{same}[b];[a][b]{measure}"
        call: list[str | Path] = [
            self.program,
            "-nostdin",
            "-nostats",
            "-i",
            made,
            "-i",
            film,
            "-lavfi",
            graph,
            "-f",
            "null",
            "-",
        ]
        done = subprocess.run(call, capture_output=True, text=True, errors="replace", check=False)
        found = re.search(_SCORES[self.metric], done.stderr)
        if done.returncode != 0 or not found:
            raise click.ClickException(f"ffmpeg measured no {self.metric}: {done.stderr[-1000:].strip()}")
        return float(found[1])


def find_meter() -> Meter:
    """VMAF's, else SSIM's."""
    try:
        return Meter("VMAF", find_vmaf())
    except LocalError as error:
        click.echo(f"SSIM instead of VMAF. {error}", err=True)
        return Meter("SSIM", Path("ffmpeg"))
