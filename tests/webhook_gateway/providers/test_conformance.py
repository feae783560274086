"""What every provider must do, run on each folder of `recorded/`: a new provider adds a folder and no test."""

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.psp import signed_webhooks
from services.webhook_gateway.errors import InvalidSignatureError, UnreadableEventError
from services.webhook_gateway.providers.base import PaymentNotice, Request
from services.webhook_gateway.providers.registry import NAMES
from tests.webhook_gateway.providers.recordings import RECORDINGS, SIGNED, Recording, called

every_recording = pytest.mark.parametrize("recording", RECORDINGS, ids=called)
every_signed_recording = pytest.mark.parametrize(
    "recording", [one for one in RECORDINGS if one.proof.signed], ids=called
)
JSON_PROVIDERS = [one for one in SIGNED if one.provider != "satim"]
every_provider = pytest.mark.parametrize("recording", SIGNED, ids=lambda one: one.provider)

#: Where the proof is: a header's name, or a parameter of the query.
PROOFS = {
    "chargily": "signature",
    "generic": "x-signature",
    "standard_webhooks": "webhook-signature",
    "stripe": "stripe-signature",
    "satim": "checksum",
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def with_proof(recording: Recording, value: str | None) -> Request:
    """The recorded request with another proof in the place of its own; None takes it away."""
    request, name = recording.request, PROOFS[recording.provider]
    if recording.provider == "satim":
        rest = request.body.partition(b"&checksum=")[0]
        return replace(
            request, body=rest if value is None else rest + b"&checksum=" + value.encode("latin-1", "ignore")
        )
    headers = {key: reported for key, reported in request.headers.items() if key != name}
    return replace(request, headers=headers if value is None else {**headers, name: value})


def test_every_provider_has_recorded_requests() -> None:
    assert {one.provider for one in RECORDINGS} == set(NAMES) - {"cib"}
    assert {one.provider for one in SIGNED} == set(PROOFS)


@every_recording
def test_a_recorded_request_is_believed_for_the_recorded_reason(recording: Recording) -> None:
    assert recording.psp.verify(recording.request) == recording.proof


@every_recording
def test_a_recorded_request_says_what_is_recorded(recording: Recording) -> None:
    assert recording.psp.parse(recording.request) == recording.notice


@every_recording
def test_only_the_kept_headers_are_needed_to_read_a_request_again(recording: Recording) -> None:
    kept = {name: value for name, value in recording.request.headers.items() if name in recording.psp.kept_headers}

    assert recording.psp.parse(replace(recording.request, headers=kept)) == recording.notice


@every_recording
def test_the_proof_itself_is_never_kept(recording: Recording) -> None:
    assert PROOFS[recording.provider] not in recording.psp.kept_headers
    assert recording.request.method in recording.psp.methods


@every_signed_recording
@settings(max_examples=50)
@given(place=st.integers(0), bit=st.integers(0, 7))
def test_one_changed_bit_of_the_body_is_refused(recording: Recording, place: int, bit: int) -> None:
    body = bytearray(recording.request.body)
    body[place % len(body)] ^= 1 << bit

    with pytest.raises(InvalidSignatureError):
        recording.psp.verify(replace(recording.request, body=bytes(body)))


NO_PROOFS = (
    None,
    "",
    " ",
    "zz" * 32,
    "ab" * 31,
    "é" * 64,
    "٣" * 64,
    "\x00",
    "t=,v1=",
    "t=1767225600",
    "t=1767225600,v1=é",
    "t=٣,v1=" + "0" * 64,
    "t=" + "9" * 400 + ",v1=" + "0" * 64,
    "v1,",
    "v1,é",
    "v1,AAAA",
    "v1a,AAAA v2,BBBB",
    "sha256=",
    "sha256=sha256=" + "0" * 64,
    "00" * 32,
    "0" * 100_000,
    "v1," * 50_000,
)  # fmt: skip


@every_signed_recording
def test_a_proof_that_proves_nothing_is_refused(recording: Recording) -> None:
    def is_refused(value: str | None) -> bool:
        try:
            recording.psp.verify(with_proof(recording, value))
        except InvalidSignatureError:
            return True
        return False

    assert [repr(value)[:40] for value in NO_PROOFS if not is_refused(value)] == []


@every_provider
@given(value=st.text())
def test_whatever_stands_in_the_place_of_a_proof_is_refused_and_nothing_worse(recording: Recording, value: str) -> None:
    with pytest.raises(InvalidSignatureError):
        recording.psp.verify(with_proof(recording, value))


@every_provider
def test_another_providers_key_is_refused(recording: Recording) -> None:
    for other in SIGNED:
        if other.provider == recording.provider:
            continue
        for secret in other.secrets:
            theirs = base64.b64encode(secret.encode()).decode() if recording.provider == "standard_webhooks" else secret
            with pytest.raises(InvalidSignatureError):
                recording.psp.verify(recording.signed_anew(recording.request.body, theirs))


@every_provider
def test_two_secrets_are_active_and_the_proof_says_which_one_matched(recording: Recording) -> None:
    first, second = recording.secrets
    by_first, by_second = (recording.signed_anew(recording.request.body, secret) for secret in (first, second))

    assert recording.psp.verify(by_first).secret == 0
    assert recording.psp.verify(by_second).secret == 1
    rotated = recording.psp_with({**recording.reported["settings"], recording.secrets_setting: f"{second},{first}"})
    assert rotated.verify(by_first).secret == 1
    retired = recording.psp_with({**recording.reported["settings"], recording.secrets_setting: second})
    assert retired.verify(by_second).secret == 0
    with pytest.raises(InvalidSignatureError):
        retired.verify(by_first)


@every_provider
@given(body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_signed_body_without_the_providers_form_is_unreadable_and_nothing_worse(
    recording: Recording, body: bytes
) -> None:
    if recording.provider == "satim":
        body = f"operation={body.hex()}".encode()
    request = recording.signed_anew(body, recording.secrets[0])

    assert recording.psp.verify(request).signed
    with pytest.raises(UnreadableEventError):
        recording.psp.parse(request)


@pytest.mark.parametrize("recording", [one for one in RECORDINGS if one.provider != "satim"], ids=called)
@settings(max_examples=50)
@given(data=st.data())
def test_a_signed_body_with_one_surprising_field_is_read_or_unreadable_and_can_be_kept(
    recording: Recording, data: st.DataObject
) -> None:
    body = json.loads(recording.request.body)
    place = body
    while True:
        name = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[name], dict) or not place[name] or data.draw(st.booleans()):
            break
        place = place[name]
    place[name] = data.draw(JSON)
    request = recording.signed_anew(json.dumps(body).encode(), recording.secrets[0])

    try:
        notice = recording.psp.parse(request)
    except UnreadableEventError:
        return
    assert_can_be_kept(notice)


@pytest.mark.parametrize("recording", JSON_PROVIDERS, ids=lambda one: one.provider)
@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_is_no_json_is_unreadable_even_in_a_field_that_nobody_reads(recording: Recording, constant: bytes) -> None:
    body = recording.request.body.replace(b"{", b'{"unknown":' + constant + b",", 1)

    with pytest.raises(UnreadableEventError):
        recording.psp.parse(recording.signed_anew(body, recording.secrets[0]))


def assert_can_be_kept(notice: PaymentNotice) -> None:
    """PostgreSQL takes no NUL, no half of a surrogate pair and no number beyond bigint."""
    for name in ("key", "kind", "reference", "order_number", "method", "failure_reason", "currency"):
        text = getattr(notice, name)
        if text is not None:
            assert text.encode().decode() == text
            assert "\0" not in text
            assert 0 < len(text) <= 200
    for name in ("amount_minor", "refunded_minor", "fee_minor", "user_id"):
        number = getattr(notice, name)
        assert number is None or (type(number) is int and 0 <= number < 2**63)
    assert notice.occurred_at is None or notice.occurred_at.tzinfo is not None


@every_provider
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"id":' * 50_000,
        b'{"amount": NaN}',
        b'{"amount": Infinity}',
        b'{"amount": ' + b"9" * 5_000 + b"}",
        b'{"id": "\\u0000", "type": "\\u0000", "event_id": "\\u0000", "transaction_id": "\\u0000", "status": "paid"}',
        b'{"id": "\\ud800", "type": "\\ud800", "event_id": "\\ud800", "transaction_id": "\\ud800", "status": "paid"}',
    ],
    ids=lambda body: repr(body)[:24],
)
def test_a_signed_trap_is_unreadable(recording: Recording, body: bytes) -> None:
    if recording.provider == "satim":
        body = b"operation=deposited"
    request = recording.signed_anew(body, recording.secrets[0])

    recording.psp.verify(request)
    with pytest.raises(UnreadableEventError):
        recording.psp.parse(request)


#: Of an invoice or a session one event names the payer, and another one the payment; a refund names its payment alone.
NAMES_NO_PAYMENT = ("invoiced", "subscribed", "session_expired")
NAMES_NO_PAYER = ("invoice_payment", "refund_created", "refund_failed", "refund_updated", "charge_refund_updated")


@pytest.mark.parametrize("provider", sorted(signed_webhooks.WORDS))
def test_the_simulator_sends_what_the_gateway_believes(provider: str) -> None:
    recording = next(one for one in SIGNED if one.provider == ("satim" if provider == "cib" else provider))
    payment = signed_webhooks.Payment(reference="ref1", amount_minor=250000, user_id=42, order_number="A1001")
    psp = recording.psp
    for what in signed_webhooks.WORDS[provider]:
        delivery = signed_webhooks.signed(provider, recording.secrets, payment, what, at=recording.day)
        body = delivery.body or delivery.path.partition("?")[2].encode()
        request = Request(delivery.method, {name.lower(): value for name, value in delivery.headers.items()}, body)

        assert psp.verify(request).secret == 0
        notice = psp.parse(request)
        assert notice.reference == (None if what in NAMES_NO_PAYMENT else "ref1")
        if not notice.hint and what not in NAMES_NO_PAYER:
            assert (notice.user_id, notice.order_number, notice.currency) == (42, "A1001", "DZD")
