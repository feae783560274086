"""Parts of automatic captions in PostgreSQL: after every picture, once each, and never over a person's captions."""

from datetime import date

import pytest
from sqlalchemy import text

from services.transcoder.errors import UnknownJobError
from services.transcoder.jobs.model import Lease, TaskKind
from services.transcoder.jobs.postgres_captions import PostgresCaptionStore
from services.transcoder.jobs.postgres_speech import PostgresSpeechStore
from services.transcoder.speech.transcript import Transcript
from services.webhook_gateway.school_api.course_video.postgres import PostgresVideos, Transcription
from shared.runtime.database import RetryingEngine
from tests.transcoder.jobs.test_postgres_jobs import School
from tests.transcoder.jobs.test_postgres_jobs import school as school  # a fixture
from tests.transcoder.speech.words import said

TODAY = date(2026, 11, 29)
SILENCE = Transcript("en", ())


class Speech:
    """A school whose lessons are transcribed."""

    def __init__(self, school: School) -> None:
        self.school = school
        self.parts = PostgresSpeechStore(RetryingEngine(school.engine), lease_seconds=30.0)
        self.captions = PostgresCaptionStore(RetryingEngine(school.engine))
        self.videos = PostgresVideos(school.engine.execution_options(isolation_level="AUTOCOMMIT"))

    def lesson(self, name: str = "a", minutes: int = 0, parts: int = 2) -> int:
        """A lesson that is whole, with parts that wait."""
        job_id = self.school.open(name, minutes)
        plan = self.school.plan(job_id, source=name)
        self.school.make_all(job_id)
        lease = self.school.claim(job_id, TaskKind.PUBLISH)
        master = f"hls/{self.school.course_id}/{plan.key}/master.m3u8"
        assert self.school.jobs.complete(lease, master, TODAY, speech_tasks=parts)
        return job_id

    def claim(self) -> Lease:
        lease = self.parts.claim_speech()
        assert lease is not None
        return lease

    def hear(self, sentence: str, language: str = "fr") -> bool:
        lease = self.claim()
        return self.parts.heard(lease, Transcript(language, said(sentence, lease.number * 120_000)))

    def kept(self) -> dict[str, tuple[str, bool]]:
        query = "SELECT language, body, automatic FROM captions WHERE course_id = :id"
        with self.school.engine.connect() as connection:
            rows = connection.execute(text(query), {"id": self.school.course_id}).all()
        return {row.language: (row.body, row.automatic) for row in rows}

    @property
    def status(self) -> Transcription | None:
        return self.videos.show(self.school.course_id).transcription


@pytest.fixture
def speech(school: School) -> Speech:
    return Speech(school)


def test_a_lesson_is_ready_before_its_captions_which_are_marked_as_automatic(speech: Speech) -> None:
    # Given a lesson that is whole: its status does not wait for captions
    job_id = speech.lesson()
    assert speech.school.course()[0] == "completed"
    assert speech.videos.show(speech.school.course_id).status == "completed"
    assert speech.status == Transcription("pending", 0.0)

    # When the first part is heard, no other worker begins the second before
    first = speech.claim()
    assert (first.kind, first.number) == (TaskKind.SPEECH, 0)
    assert speech.parts.claim_speech() is None
    assert speech.status == Transcription("processing", 0.0)
    assert speech.parts.heard(first, Transcript("fr", said("Bonjour à tous.", 0)))
    assert speech.parts.language(job_id) == "fr"
    assert speech.kept() == {}

    # Then the last one makes the captions, and a worker is asked to publish them
    assert speech.hear("Au revoir.")
    body, automatic = speech.kept()["fr"]
    assert automatic
    assert "Bonjour à tous." in body
    assert "00:02:00.000" in body
    assert speech.status == Transcription("completed", 100.0)
    lesson = speech.captions.captions(job_id)
    assert lesson
    assert [(track.language, track.automatic) for track in lesson.captions] == [("fr", True)]
    assert speech.school.scalar("SELECT requested FROM transcode_jobs") == "captions"
    # and the words are kept once
    assert speech.school.scalar("SELECT bool_and(result->'words' = '[]') FROM transcode_chunks WHERE kind = 'speech'")


def test_no_part_of_speech_is_due_while_a_picture_waits(speech: Speech) -> None:
    speech.lesson()
    other = speech.school.scalar("INSERT INTO courses DEFAULT VALUES RETURNING id")
    mine, speech.school.course_id = speech.school.course_id, int(str(other))
    job_id = speech.school.open("b")
    assert speech.parts.claim_speech() is None
    speech.school.jobs.cancel(job_id)
    speech.school.course_id = mine
    assert speech.parts.claim_speech() is not None


def test_a_lost_part_is_heard_again_and_its_late_owner_changes_nothing(speech: Speech) -> None:
    speech.lesson(parts=1)
    late = speech.claim()
    assert speech.parts.beat(late, 0.0)
    speech.school.scalar(
        "UPDATE transcode_chunks SET lease_until = now() - interval '1 s', due_at = now() WHERE kind = 'speech'"
        " RETURNING 1"
    )
    assert speech.hear("Bonjour.")
    assert not speech.parts.beat(late, 0.0)
    assert not speech.parts.heard(late, Transcript("en", said("Hello.", 0)))
    assert set(speech.kept()) == {"fr"}


def test_a_persons_captions_stay_and_the_rest_of_the_lesson_is_not_heard(speech: Speech) -> None:
    # Given parts, and a person who sends captions in the language while they are heard
    speech.lesson(parts=3)
    assert speech.hear("Bonjour.")
    speech.videos.put_captions(speech.school.course_id, "fr", "WEBVTT\n\n00:00.000 --> 00:01.000\nSalut\n")

    # When another part is heard
    assert speech.hear("Encore.")

    # Then theirs stay, and nothing is left to do
    assert speech.parts.claim_speech() is None
    assert {language: automatic for language, (_, automatic) in speech.kept().items()} == {"fr": False}
    assert "Salut" in speech.kept()["fr"][0]
    assert speech.status is None


def test_a_person_replaces_or_removes_automatic_captions_for_good(speech: Speech) -> None:
    speech.lesson(parts=1)
    assert speech.hear("Bonjour.")
    speech.videos.put_captions(speech.school.course_id, "fr", "WEBVTT\n\n00:00.000 --> 00:01.000\nSalut\n")
    assert speech.kept()["fr"] == ("WEBVTT\n\n00:00.000 --> 00:01.000\nSalut\n", False)
    speech.videos.remove_captions(speech.school.course_id, "fr")
    assert speech.parts.claim_speech() is None
    assert speech.kept() == {}


def test_captions_that_fail_leave_the_lesson_as_it_is_and_can_begin_again(speech: Speech) -> None:
    # Given a part that is heard, and one that fails for good
    job_id = speech.lesson(parts=3)
    assert speech.hear("Bonjour.")
    speech.parts.give_up(speech.claim(), "StalledError: too slow")

    # Then the lesson is whole, and nothing more is done
    assert speech.school.course()[0] == "completed"
    assert speech.videos.show(speech.school.course_id).reason is None
    status = speech.status
    assert status
    assert status.status == "failed"
    assert speech.parts.claim_speech() is None

    # When an operator begins it again, what was heard is kept
    speech.parts.begin(job_id)
    assert speech.hear("Deux.")
    assert speech.hear("Trois.")
    body, _ = speech.kept()["fr"]
    assert "Bonjour." in body
    assert "Trois." in body

    # And once more: all of it, by the length of the plan (150 s)
    speech.parts.begin(job_id)
    assert speech.hear("Hello.", "en")
    assert speech.hear("Again.", "en")
    assert {language: automatic for language, (_, automatic) in speech.kept().items()} == {"en": True}


def test_a_new_lesson_takes_the_place_of_the_captions_of_the_one_before(speech: Speech) -> None:
    # Given a lesson whose second part is at work, and one more upload that becomes the course's lesson
    speech.lesson("a")
    assert speech.hear("Ancien.")
    old = speech.claim()
    speech.lesson("b", minutes=1, parts=1)

    # Then the old one's parts are gone
    assert not speech.parts.beat(old, 0.0)
    assert not speech.parts.heard(old, Transcript("fr", said("Ancien.", 0)))
    assert speech.hear("Nouveau.")
    assert "Nouveau." in speech.kept()["fr"][0]
    assert "Ancien." not in speech.kept()["fr"][0]
    # and when a third comes, so are the second's captions
    speech.lesson("c", minutes=2, parts=1)
    assert speech.kept() == {}


def test_a_deleted_lesson_gets_no_captions(speech: Speech) -> None:
    speech.lesson(parts=1)
    lease = speech.claim()
    speech.videos.ask(speech.school.course_id, "delete")
    assert speech.parts.heard(lease, Transcript("fr", said("Bonjour.", 0)))
    assert speech.kept() == {}
    assert speech.school.scalar("SELECT requested FROM transcode_jobs") == "delete"


def test_a_silent_lesson_has_no_captions_and_that_is_no_failure(speech: Speech) -> None:
    speech.lesson(parts=1)
    assert speech.parts.heard(speech.claim(), SILENCE)
    assert speech.kept() == {}
    assert speech.status == Transcription("completed", 100.0)
    assert speech.school.scalar("SELECT requested FROM transcode_jobs") is None


def test_a_job_without_a_lesson_is_not_transcribed(speech: Speech) -> None:
    job_id = speech.school.open("a")
    with pytest.raises(UnknownJobError):
        speech.parts.begin(job_id)
    assert speech.status is None
