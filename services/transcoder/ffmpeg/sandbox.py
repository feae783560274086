"""Starts one program that may only touch the named files, with limits and without network; run as a script.

    python -I -S sandbox.py '{"parent": 1, "confinement": "required", "read": [], "write": [], ...}' program argument...

It needs the standard library alone, and starts in a process of its own because a threaded worker cannot
safely run Python between fork and exec. Landlock (files, TCP) and a seccomp filter (every socket) need no rights.
"""

import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys
from enum import StrEnum

#: The exit status that means "the program was never started"; the reason is on standard error.
NOT_STARTED = 125

SYSTEM_PATHS = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1, 2, 4, 8, 1 << 14
_REMOVE_FILE, _MAKE_REG = 1 << 5, 1 << 8
#: Regular files alone: a link, a FIFO or a device in an output folder is a trap for its reader.
_WRITE = _WRITE_FILE | _READ_FILE | _READ_DIR | _REMOVE_FILE | _MAKE_REG
#: Architecture word, and the numbers of socket(2), setpgid(2) and setsid(2), by machine. A process that cannot leave
#: its group ends with it. io_uring can open sockets too and has one number everywhere.
_SECCOMP = {"x86_64": (0xC000003E, (41, 109, 112)), "aarch64": (0xC00000B7, (198, 154, 157))}
_IO_URING_SETUP = 425


class Confinement(StrEnum):
    """How much the kernel has to do before an untrusted file is opened."""

    REQUIRED = "required"
    AVAILABLE = "available"


class ConfinementError(OSError):
    """The kernel cannot keep the program in."""


def main(spec: dict[str, object], argv: list[str]) -> None:
    """Become `argv`, whose first is an absolute path, under `spec`. Only returns by raising."""
    _die_with(int(str(spec["parent"])))
    _limit(spec)
    try:
        confine(_paths(spec, "read"), _paths(spec, "write"))
    except ConfinementError as error:
        if spec["confinement"] != Confinement.AVAILABLE:
            raise
        print(f"sandbox: goes on without: {error}", file=sys.stderr)
    os.execv(argv[0], argv)  # noqa: S606 - starting a program is what this module is for


def confine(read: list[str], write: list[str]) -> None:
    """Allow this process the files under `read` and `write`, the system's libraries, and no network, for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise ConfinementError(ctypes.get_errno(), "no_new_privs was refused")
    filter_program = socket_filter(platform.machine())
    _restrict_files(libc, read, write)
    _install(libc, filter_program)


def _die_with(parent: int) -> None:
    """Ask to be killed when the parent ends; the check after it closes the race with a parent that ended before."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _limit(spec: dict[str, object]) -> None:
    limits = {
        resource.RLIMIT_DATA: "memory_bytes",
        resource.RLIMIT_FSIZE: "file_bytes",
        resource.RLIMIT_CPU: "cpu_seconds",
        resource.RLIMIT_NOFILE: "open_files",
    }
    for limit, name in limits.items():
        value = int(str(spec[name]))
        resource.setrlimit(limit, (value, value))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # threads get stacks of this size, and they count as memory
    resource.setrlimit(resource.RLIMIT_STACK, (2 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))
    os.nice(int(str(spec.get("nice", 10))))
    # when memory runs out, the encoder goes first, not the worker
    with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - pathlib costs 10 ms of start-up
        file.write("800")


def _paths(spec: dict[str, object], name: str) -> list[str]:
    paths = spec[name]
    assert isinstance(paths, list)
    return [str(path) for path in paths]


def _restrict_files(libc: ctypes.CDLL, read: list[str], write: list[str]) -> None:
    abi = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if abi < 1:
        raise ConfinementError(
            ctypes.get_errno(), "this kernel has no Landlock (Linux 5.13 and later; lsm=landlock at boot)"
        )
    files = (1 << 13) - 1
    files |= (1 << 13) * (abi >= 2) | _TRUNCATE * (abi >= 3) | (1 << 15) * (abi >= 5)
    network = 3 if abi >= 4 else 0
    scope = 3 if abi >= 6 else 0
    attributes = struct.pack("=QQQ", files, network, scope)[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        raise ConfinementError(ctypes.get_errno(), "Landlock refused the rule set")
    device = _READ_FILE | _WRITE_FILE | _TRUNCATE * (abi >= 3)
    for path in [*SYSTEM_PATHS, *read]:
        # a rule on a file that carries a folder's rights is refused by the kernel
        _allow(libc, ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR * os.path.isdir(path))  # noqa: PTH112
    for path in DEVICES:
        _allow(libc, ruleset, path, device)
    for path in write:
        _allow(libc, ruleset, path, _WRITE | _TRUNCATE * (abi >= 3))
    if libc.syscall(_RESTRICT_SELF, ruleset, 0):
        raise ConfinementError(ctypes.get_errno(), "Landlock refused to restrict this process")
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, access: int) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", access, file), 0):
        raise ConfinementError(ctypes.get_errno(), f"Landlock refused the rule for {path}")
    os.close(file)


def socket_filter(machine: str) -> bytes:
    """The seccomp program that answers EPERM to sockets (Landlock knows TCP alone) and to leaving the process group.

    Raises NotConfined for a machine whose system call numbers are not known here.
    """
    if machine not in _SECCOMP:
        raise ConfinementError(0, f"there is no socket filter for {machine} processors, only for {', '.join(_SECCOMP)}")
    architecture, numbers = _SECCOMP[machine]
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | 1
    refused = (*numbers, _IO_URING_SETUP)
    program = [
        (load, 0, 0, 4),
        (equal, 0, len(refused) + 3, architecture),
        (load, 0, 0, 0),
        (at_least, len(refused) + 1, 0, 0x40000000),  # x86-64's second system call table
        *((equal, len(refused) - place, 0, number) for place, number in enumerate(refused)),
        (answer, 0, 0, allow),
        (answer, 0, 0, refuse),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _install(libc: ctypes.CDLL, code: bytes) -> None:
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    if libc.prctl(_PR_SET_SECCOMP, 2, ctypes.c_char_p(header), 0, 0):
        raise ConfinementError(ctypes.get_errno(), "seccomp refused the filter")


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]), sys.argv[2:])
    except (OSError, ValueError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        sys.exit(NOT_STARTED)
