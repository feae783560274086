"""Describes the machine that figures were taken on: without it they mean nothing."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from local.errors import LocalError
from local.installers.postgres import find_program as find_postgres
from local.installers.rabbitmq import find_program as find_rabbitmq

_PACKAGES = ("dramatiq", "pika", "flask", "gunicorn", "sqlalchemy", "celery")


def describe() -> dict[str, str]:
    """Cores, memory, kernel and versions, as words. `load` is how busy the machine was before anything was measured."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "load": " ".join(f"{load:.1f}" for load in psutil.getloadavg()),
        "python": platform.python_version(),
        "ffmpeg": _first_line("ffmpeg", "-version"),
        "postgresql": _postgres(),
        "rabbitmq": _rabbitmq(),
        **{name: _package(name) for name in _PACKAGES},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _first_line(*command: str | Path) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return "not there"
    return answer.splitlines()[0].partition(" Copyright")[0] if answer else "unknown"


def _postgres() -> str:
    try:
        program = find_postgres(Path("no data"))
    except LocalError:
        return "not there"
    return _first_line(program / "bin" / "postgres", "--version")


def _rabbitmq() -> str:
    try:
        program = find_rabbitmq()
    except LocalError:
        return "not there"
    return _first_line(program.with_name("rabbitmqctl"), "version")


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not there"
