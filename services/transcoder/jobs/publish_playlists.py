"""Use case: verify every object in S3, then write the playlists, the master last; `postgres_jobs` ends the job."""

from collections.abc import Mapping

from services.transcoder.errors import WrongOutputError
from services.transcoder.hls.package import assemble
from services.transcoder.hls.playlists import MASTER_NAME, Lock
from services.transcoder.hls.segment_metadata import load_parts
from services.transcoder.jobs.model import Job, TaskKind, TaskResult
from services.transcoder.storage.object_store import ObjectStore
from shared.runtime.failpoints import failpoint

Results = Mapping[tuple[TaskKind, int], TaskResult]


def missing_objects(job: Job, results: Results, objects: ObjectStore) -> list[tuple[TaskKind, int]]:
    """The tasks whose files are not in S3 as they were sent there: missing, or of another size."""
    there = {key.removeprefix(job.prefix): stored.size_bytes for key, stored in objects.list(job.prefix).items()}
    return [part for part, done in results.items() if any(there.get(name) != size for name, size in done.files.items())]


def publish(job: Job, results: Results, objects: ObjectStore, lock: Lock | None = None) -> str:
    """Write the playlists of a lesson whose media are there; where its master is. Writing them again is harmless.

    Raises WrongOutputError where the tasks do not make up what was planned.
    """
    assert job.plan is not None
    parts = load_parts([dict(part) for done in results.values() for part in done.parts])
    assembly = assemble(job.plan, parts, lock)
    sent = {name for done in results.values() for name in done.files}
    if unsent := set(assembly.media) - sent:
        raise WrongOutputError(f"{len(unsent)} files were made, but never sent: {min(unsent)} is one.")
    assert list(assembly.playlists)[-1] == MASTER_NAME, "the master is written last"
    for name, text in assembly.playlists.items():
        if name == MASTER_NAME:
            failpoint("transcoder.before_master")
        objects.put(job.prefix + name, text.encode())
    failpoint("transcoder.after_master")
    return job.prefix + MASTER_NAME
