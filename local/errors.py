"""What can go wrong while servers and processes are started on this machine; every message says the fix."""


class LocalError(Exception):
    """The root of every error that `local` raises on purpose; the command line prints it as one sentence."""


class NotInstalledError(LocalError):
    """A program is missing, and could not be installed from here."""


class CannotStartError(LocalError):
    """A server or process ended or stayed silent instead of getting ready; the message ends with its last lines."""


class CannotStopError(LocalError):
    """A process is still there after SIGKILL; only the kernel can know why."""


class NotRunningError(LocalError):
    """The question is about a running stack, and none runs."""
