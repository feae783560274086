"""The Prometheus in the containers, asked from outside."""

import math
import time
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Alert:
    """One of the alerts, by name and, where it is needed to distinguish it from others, by a label."""

    name: str
    label: str = ""
    value: str = ""

    def __str__(self) -> str:
        return f"{self.name}{{{self.label}={self.value}}}" if self.label else self.name


class Prometheus:
    """Answers queries, and says what fires."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)
        self._began = time.time()

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self._client.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == httpx.codes.OK, f"{parameters}: {answer.text}"
        return answer.json()["data"]

    def has(self, expression: str) -> bool:
        """Whether there is a number at any time since the load began."""
        found = self.get("query_range", query=expression, start=self._began, end=time.time(), step="5s")["result"]
        return any(not math.isnan(float(value)) for series in found for _, value in series["values"])

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        return {labels["alertname"] for labels in self._firing()}

    def fires(self, alert: Alert) -> bool:
        """Whether this one fires."""
        return any(
            labels["alertname"] == alert.name and (not alert.label or labels.get(alert.label) == alert.value)
            for labels in self._firing()
        )

    def _firing(self) -> list[dict[str, str]]:
        return [one["labels"] for one in self.get("alerts")["alerts"] if one["state"] == "firing"]
