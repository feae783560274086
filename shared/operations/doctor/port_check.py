"""Doctor check of a server's listen port: it is free, or our own server answers there."""

import http.client
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

from shared.operations.doctor.findings import Finding, fault, fine, note

ANSWER_SECONDS = 3.0


def check_port(subject: str, host: str, port: int, setting: str, start: str) -> Iterator[Finding]:
    """Ask `/healthz` there: our own server answers it, another one does not, and a free port nobody does."""
    reached = "127.0.0.1" if host == "0.0.0.0" else "[::1]" if host == "::" else host  # noqa: S104 - compared only
    address = f"{reached}:{port}"
    try:
        # an address of ours, over plain HTTP, whatever proxy the environment names
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{address}/healthz", timeout=ANSWER_SECONDS) as answer:
            ours = answer.status == 200 and b"status" in answer.read(1000)
    except urllib.error.HTTPError:
        ours = False
    except (OSError, ValueError, http.client.HTTPException) as error:
        # the last where something talks that is no web server: SSH says its own name first
        if _is_free(host, port):
            yield note(subject, f"Nothing listens on {address}.", f"Start it: `{start}`.")
        else:
            yield fault(
                subject,
                f"{address} is taken, or it is no address of this machine ({type(error).__name__}).",
                f"Stop what listens there, or set {setting}.",
            )
        return
    if ours:
        yield fine(subject, f"It answers on {address}.")
    else:
        yield fault(subject, f"{address} is taken by something else.", f"Stop what listens there, or set {setting}.")


def _is_free(host: str, port: int) -> bool:
    try:
        socket.create_server(
            (host.strip("[]"), port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        ).close()
    except OSError:
        return False
    return True
