"""Reads and clears the requests on jobs in PostgreSQL, which the gateway's API and the console store."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update

from shared.runtime.database import RetryingEngine
from shared.schema.tables import transcode_jobs as jobs


@dataclass(frozen=True, slots=True)
class Request:
    """What the school asks of a job through the API: cancel, retry or delete."""

    job_id: int
    what: str


class PostgresRequestStore:
    """The requests that no worker has answered yet."""

    def __init__(self, database: RetryingEngine) -> None:
        self._database = database

    def requests(self) -> Sequence[Request]:
        """What the school has asked of jobs through the API, the oldest jobs first."""
        asked = select(jobs.c.id, jobs.c.requested).where(jobs.c.requested.is_not(None)).order_by(jobs.c.id).limit(20)
        rows = self._database.run(lambda connection: connection.execute(asked).all())
        return [Request(row.id, row.requested) for row in rows]

    def answered(self, request: Request) -> None:
        """The request is done; one that came meanwhile stays."""
        done = update(jobs).where(jobs.c.id == request.job_id, jobs.c.requested == request.what)
        self._database.run(lambda connection: connection.execute(done.values(requested=None)).rowcount)
