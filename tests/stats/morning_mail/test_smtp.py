"""Mails are sent encrypted and signed in, to a real mail server, or an error says what to change."""

from email.message import EmailMessage
from urllib.parse import quote

import pytest

from services.stats.errors import MailError
from services.stats.morning_mail.smtp import send
from tests.mail_server import PASSWORD, USER, MailServer


def mail(*recipients: str) -> EmailMessage:
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = "Numbers", "nouba@school.example", ", ".join(recipients)
    made.set_content("كل شيء")
    return made


def address(server: MailServer, user: str = USER, password: str = PASSWORD, host: str = "localhost") -> str:
    return f"smtp://{quote(user)}:{quote(password, safe='')}@{host}:{server.port}"


def test_a_mail_is_sent_encrypted_by_a_user_who_signs_in(mail_server: MailServer) -> None:
    assert send(mail("head@school.example", "deputy@school.example"), address(mail_server)) == 0
    (received,) = mail_server.mails
    assert received["To"] == "head@school.example, deputy@school.example"
    assert received.get_content().strip() == "كل شيء"


def test_a_recipient_who_is_refused_costs_the_others_nothing(mail_server: MailServer) -> None:
    mail_server.refused = {"gone@school.example"}
    assert send(mail("head@school.example", "gone@school.example"), address(mail_server)) == 1
    assert len(mail_server.mails) == 1
    mail_server.refused = {"gone@school.example", "head@school.example"}
    with pytest.raises(MailError, match=r"refuses every recipient of NOUBA_STATS_MAIL_TO \(\[550\]\)"):
        send(mail("head@school.example", "gone@school.example"), address(mail_server))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "other"}, "refuses the user or password of NOUBA_MAIL_URL"),
        ({"host": "127.0.0.1"}, "SSLCertVerificationError"),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_is(mail_server: MailServer, wrong: dict[str, str], said: str) -> None:
    with pytest.raises(MailError, match=said) as caught:
        send(mail("head@school.example"), address(mail_server, **wrong))
    assert PASSWORD not in str(caught.value)
    assert "head@" not in str(caught.value)
    assert not mail_server.mails


def test_a_password_is_never_sent_in_the_clear(plain_server: MailServer) -> None:
    with pytest.raises(MailError, match="does not offer what NOUBA_MAIL_URL needs: STARTTLS"):
        send(mail("head@school.example"), address(plain_server))
    assert not plain_server.mails


def test_a_server_of_this_machine_needs_no_user(plain_server: MailServer) -> None:
    assert send(mail("head@school.example"), f"smtp://127.0.0.1:{plain_server.port}") == 0
    plain_server.stop()
    with pytest.raises(MailError, match=r"127\.0\.0\.1 did not take the mail: ConnectionRefusedError"):
        send(mail("head@school.example"), f"smtp://127.0.0.1:{plain_server.port}")
