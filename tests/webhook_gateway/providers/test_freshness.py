"""Providers that sign the time: a request is believed for five minutes either way, and not a second longer."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.webhook_gateway.errors import InvalidSignatureError
from tests.webhook_gateway.providers.recordings import SIGNED, Recording, build

TIMED = [one for one in SIGNED if one.provider in ("stripe", "standard_webhooks")]
every_timed_provider = pytest.mark.parametrize("recording", TIMED, ids=lambda one: one.provider)


@every_timed_provider
@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_clock_five_minutes_off_either_way_is_forgiven(recording: Recording, seconds: int) -> None:
    request = recording.signed_anew(recording.request.body, recording.secrets[0])
    now = recording.day + timedelta(seconds=seconds)

    assert build(recording.provider, recording.reported["settings"], now.isoformat()).verify(request).signed


@every_timed_provider
@pytest.mark.parametrize("seconds", [-301, 301, 600, 86_400])
def test_a_replay_after_that_is_refused(recording: Recording, seconds: int) -> None:
    request = recording.signed_anew(recording.request.body, recording.secrets[0])
    now = recording.day + timedelta(seconds=seconds)

    with pytest.raises(InvalidSignatureError):
        build(recording.provider, recording.reported["settings"], now.isoformat()).verify(request)


@every_timed_provider
def test_a_changed_time_is_refused(recording: Recording) -> None:
    request = recording.signed_anew(recording.request.body, recording.secrets[0])
    signed, changed = (str(int(recording.day.timestamp()) + shift) for shift in (0, 1))
    headers = {name: value.replace(signed, changed) for name, value in request.headers.items()}
    assert headers != request.headers

    with pytest.raises(InvalidSignatureError):
        recording.psp.verify(replace(request, headers=headers))


def test_a_message_id_with_a_full_stop_is_refused_because_it_could_be_shifted_into_the_body() -> None:
    recording = next(one for one in TIMED if one.provider == "standard_webhooks")
    request = recording.signed_anew(recording.request.body, recording.secrets[0])
    for message_id in ("msg.1", "", "m" * 201, "msg 1", "msg_é"):
        with pytest.raises(InvalidSignatureError):
            recording.psp.verify(replace(request, headers={**request.headers, "webhook-id": message_id}))
