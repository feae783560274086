"""Hands mails to the school's mail server."""

import smtplib
import ssl
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from services.stats.errors import MailError

#: For each step of the conversation.
TIMEOUT_SECONDS = 20


def send(mail: EmailMessage, url: str) -> int:
    """Send to all recipients at once; returns how many of them the server refused while it took the mail for others.

    `url` is smtp://user:password@host:587, encrypted by STARTTLS, or smtps://user:password@host:465. Without a user
    nobody signs in; only then, and on this machine, the connection may be in the clear. Raises MailError.
    """
    server = urlsplit(url)
    host, trusted = server.hostname or "", ssl.create_default_context()
    try:
        if server.scheme == "smtps":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(host, server.port or 465, timeout=TIMEOUT_SECONDS, context=trusted)
        else:
            smtp = smtplib.SMTP(host, server.port or 587, timeout=TIMEOUT_SECONDS)
        with smtp:
            if server.scheme == "smtp" and (server.username or not _is_this_machine(host)):
                smtp.starttls(context=trusted)
            if server.username:
                smtp.login(unquote(server.username), unquote(server.password or ""))
            refused = smtp.send_message(mail)
    except smtplib.SMTPNotSupportedError as error:
        raise MailError(f"the mail server {host} does not offer what NOUBA_MAIL_URL needs: {error}") from error
    except smtplib.SMTPAuthenticationError as error:
        # the server's own words can repeat the user's name
        raise MailError(
            f"the mail server {host} refuses the user or password of NOUBA_MAIL_URL ({error.smtp_code})"
        ) from error
    except smtplib.SMTPRecipientsRefused as error:
        codes = sorted({code for code, _ in error.recipients.values()})
        raise MailError(f"the mail server {host} refuses every recipient of NOUBA_STATS_MAIL_TO ({codes})") from error
    except (OSError, smtplib.SMTPException) as error:
        raise MailError(f"the mail server {host} did not take the mail: {type(error).__name__}") from error
    return len(refused)


def _is_this_machine(host: str) -> bool:
    return host in ("localhost", "127.0.0.1", "::1")
