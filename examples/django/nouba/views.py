"""Django views of the example: start a checkout, upload a film, play a lesson, and receive Nouba's events."""

import json
import logging
from collections.abc import Callable

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST
from standardwebhooks import Webhook, WebhookVerificationError

from nouba.api import NoubaRefusedError, nouba
from nouba.models import NoubaEvent

log = logging.getLogger(__name__)


class HttpResponseSeeOther(HttpResponse):
    status_code = 303


def with_refusals(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A refusal of Nouba's becomes ours."""

    def guarded(request: HttpRequest, **arguments: object) -> HttpResponseBase:
        try:
            return view(request, **arguments)
        except NoubaRefusedError as refusal:
            return JsonResponse({"error": str(refusal)}, status=refusal.status)

    return guarded


@require_POST
@with_refusals
def pay(request: HttpRequest, order_number: str) -> HttpResponseBase:
    """Send the payer to the provider. Sent twice, it is the same checkout."""
    checkout = nouba(
        "POST",
        "/api/v1/checkouts",
        json={
            "provider": request.POST.get("provider", "chargily"),
            # from your session and your own price list: never from the browser
            "user_id": 7,
            "order_number": order_number,
            "amount_minor": 250_000,
            "currency": "DZD",
            "return_url": request.build_absolute_uri(f"/orders/{order_number}"),
        },
    )
    return HttpResponseSeeOther(headers={"Location": checkout["redirect_url"]})


@require_GET
@with_refusals
def show_order(request: HttpRequest, order_number: str) -> HttpResponseBase:
    """Where the payer comes back to. The return proves nothing; the payment does."""
    payments = nouba("GET", "/api/v1/payments", params={"order_number": order_number})["items"]
    is_paid = any(one["status"] == "completed" for one in payments)
    return JsonResponse({"order_number": order_number, "is_paid": is_paid})


@require_POST
@with_refusals
def begin_upload(request: HttpRequest, course_id: int) -> HttpResponseBase:
    """Where the teacher's browser puts the file: the bytes never pass through this application."""
    return JsonResponse(nouba("POST", f"/api/v1/courses/{course_id}/video", json=json.loads(request.body)))


@require_POST
@with_refusals
def complete_upload(request: HttpRequest, course_id: int) -> HttpResponseBase:
    """The browser has put the whole file; Nouba transcodes it."""
    accepted = nouba("POST", f"/api/v1/courses/{course_id}/video/complete", json=json.loads(request.body))
    return JsonResponse(accepted, status=202)


@require_GET
@with_refusals
def play(request: HttpRequest, course_id: int) -> HttpResponseBase:
    """The address for the player, for one viewer who may watch: check that first."""
    return JsonResponse(nouba("GET", f"/api/v1/courses/{course_id}/playback", params={"viewer": "7"}))


@csrf_exempt  # the signature proves who sent it
@require_POST
def receive_event(request: HttpRequest) -> HttpResponse:
    """An event of Nouba's, signed as Standard Webhooks has it; it may come more than once."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        event = Webhook(settings.NOUBA_EVENTS_SECRET).verify(request.body, headers)
    except WebhookVerificationError as error:
        log.warning("refused an event: %s", error)
        return HttpResponse(status=401)
    # the id and what the event changes are one transaction: a crash in between loses neither
    with transaction.atomic():
        _, is_new = NoubaEvent.objects.get_or_create(id=headers["webhook-id"], defaults={"type": event["type"]})
        if is_new:
            log.info("event %s", event["type"])
    return HttpResponse(status=204)
