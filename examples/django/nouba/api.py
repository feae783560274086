"""Calls of Nouba's API."""

import httpx
from django.conf import settings


class NoubaRefusedError(Exception):
    """Nouba's status, and the sentence that says what to do."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def nouba(method: str, path: str, **request_options: object) -> dict:
    headers = {"Authorization": f"Bearer {settings.NOUBA_TOKEN}"}
    answer = httpx.request(method, settings.NOUBA_URL + path, headers=headers, timeout=15, **request_options)
    if answer.is_error:
        raise NoubaRefusedError(answer.status_code, answer.json().get("detail", "Nouba refused"))
    return answer.json()
