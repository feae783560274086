"""The account that PostgreSQL runs under, since it refuses to run as root, and the places this account can reach."""

import functools
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from local.errors import CannotStartError


@dataclass(frozen=True, slots=True)
class UnprivilegedUser:
    """An account without privileges, or nothing where we have none to give up: then `user` and `group` are None."""

    user: int | None = None
    group: int | None = None

    @functools.cache  # noqa: B019 - the accounts are few, and to ask copies the page table of a large process
    def reaches(self, path: Path) -> bool:
        """Whether this account can enter the folder `path` or run the program `path`."""
        if self.user is None:
            return True
        test = ["test", "-x", str(path)]
        # asked as that account, since bits, lists and mounts decide together
        return (
            subprocess.run(test, user=self.user, group=self.group, extra_groups=[], cwd="/", check=False).returncode
            == 0
        )

    def make_folder(self, wanted: Path) -> Path:
        """A folder of this account: `wanted`, or one outside the project where the account cannot enter `wanted`."""
        wanted.mkdir(parents=True, exist_ok=True)
        self.own(wanted)
        if self.reaches(wanted):
            return wanted
        key = hashlib.sha256(os.fsencode(wanted.absolute())).hexdigest()[:12]
        instead = _lasting_temporary_folder() / f"nouba-{key}"
        instead.mkdir(mode=0o700, exist_ok=True)
        if instead.is_symlink() or instead.stat().st_uid not in (os.geteuid(), self.user):
            raise CannotStartError(
                f"{instead} belongs to somebody else; remove it, or move the project to an open folder."
            )
        self.own(instead)
        return instead

    def make_reachable(self, program: Path, folder: Path) -> Path:
        """The installation `program`, or a copy of it in `folder` where this account cannot run the first."""
        if self.reaches(program / "bin" / "postgres"):
            return program
        package = program.parent
        copy = folder / "program"
        if not copy.exists():
            draft = folder / f"program.{os.getpid()}"
            shutil.copytree(program, draft / package.name / program.name, symlinks=True)
            # a wheel keeps the libraries of its programs beside the package, where they expect them
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, draft / libraries.name, symlinks=True)
            draft.rename(copy)
        return copy / package.name / program.name

    def own(self, path: Path) -> None:
        """Give `path` to this account."""
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group)


def unprivileged_account() -> UnprivilegedUser:
    """Whom to run as: oneself, or for root the account `postgres` if there is one, else `nobody`."""
    if os.geteuid() != 0:
        return UnprivilegedUser()
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return UnprivilegedUser(entry.pw_uid, entry.pw_gid)
    raise CannotStartError(
        "PostgreSQL refuses to run as root, and there is no account `postgres` or `nobody`; make one."
    )


def _lasting_temporary_folder() -> Path:
    # unlike /tmp, it survives a restart of the machine
    lasting = Path("/var/tmp")  # noqa: S108 - the owner is checked
    return lasting if lasting.is_dir() else Path(tempfile.gettempdir())
