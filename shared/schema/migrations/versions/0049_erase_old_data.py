"""Retention: what is erased after its time, by functions with the owner's rights, so that no service may erase more.

A row of record stays, with its digest: the hash chain still proves it. A trigger records each erased body, so that a
body that somebody emptied by hand is told from one that was erased.
"""

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0046"

_RECORDED = """
CREATE FUNCTION record_erased_body() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF OLD.body_erased_at IS NOT NULL OR NEW.body <> ''::bytea OR NEW.body_sha256 IS DISTINCT FROM OLD.body_sha256
        OR sha256(OLD.body) <> OLD.body_sha256
        OR NOT (OLD.state IN ('applied', 'ignored') OR OLD.state IN ('quarantined', 'dead') AND OLD.resolution IS NOT NULL)
    THEN
        RAISE EXCEPTION 'the body of event % is not one that can be erased', OLD.id USING ERRCODE = 'restrict_violation',
            HINT = 'a body is erased once, when its event is settled or decided, and only while it has its digest';
    END IF;
    INSERT INTO row_versions (kind, row_id, state, digest) VALUES ('body', NEW.id, 'erased', sha256(convert_to(jsonb_build_array(
        'body', NEW.id, encode(NEW.body_sha256, 'hex'),
        (extract(epoch FROM NEW.body_erased_at) * 1000000)::bigint)::text, 'UTF8')));
    RETURN NULL;
END $$;
CREATE TRIGGER erased_bodies_recorded AFTER UPDATE OF body_erased_at ON webhook_events FOR EACH ROW
    WHEN (NEW.body_erased_at IS DISTINCT FROM OLD.body_erased_at) EXECUTE FUNCTION record_erased_body();
"""
_BODIES = """
CREATE FUNCTION erase_webhook_bodies(received_before timestamptz, at_most integer) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH due AS (
        SELECT id FROM webhook_events
        WHERE received_at < least(received_before, now() - interval '1 day') AND body_erased_at IS NULL AND sha256(body) = body_sha256
        AND (state IN ('applied', 'ignored') OR state IN ('quarantined', 'dead') AND resolution IS NOT NULL)
        ORDER BY received_at LIMIT at_most FOR UPDATE SKIP LOCKED),
    erased AS (
        UPDATE webhook_events SET body = '', body_erased_at = now() WHERE id = ANY (ARRAY(SELECT id FROM due)) RETURNING 1)
    SELECT count(*)::integer FROM erased;
$$;
CREATE FUNCTION erase_bodies_of_user(of_user bigint) RETURNS integer
LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH due AS (
        SELECT id FROM webhook_events WHERE payment_id IN (SELECT id FROM payments WHERE user_id = of_user)
          AND body_erased_at IS NULL AND sha256(body) = body_sha256
        AND (state IN ('applied', 'ignored') OR state IN ('quarantined', 'dead') AND resolution IS NOT NULL) ORDER BY id FOR UPDATE),
    erased AS (
        UPDATE webhook_events SET body = '', body_erased_at = now() WHERE id = ANY (ARRAY(SELECT id FROM due)) RETURNING 1)
    SELECT count(*)::integer FROM erased;
$$;
"""
# what stays are the numbers that the statistics count, and what an operator decided
_LETTERS = """
CREATE FUNCTION erase_dead_letters(died_before timestamptz, at_most integer) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH due AS (
        SELECT id FROM dead_letters
        WHERE died_at < least(died_before, now() - interval '1 day') AND state <> 'dead' AND message <> ''::bytea
        ORDER BY died_at LIMIT at_most FOR UPDATE SKIP LOCKED),
    erased AS (
        UPDATE dead_letters SET message = '', arguments = NULL, x_death = NULL
        WHERE id = ANY (ARRAY(SELECT id FROM due)) RETURNING 1)
    SELECT count(*)::integer FROM erased;
$$;
"""
_ACTS = """
CREATE OR REPLACE FUNCTION refuse_change_of_records() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'operator_acts' AND current_setting('nouba.erasing', true) = 'acts' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'nouba ledger verify names what was changed beneath them';
END $$;
CREATE FUNCTION erase_operator_acts(acted_before timestamptz, at_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    erased integer;
BEGIN
    PERFORM set_config('nouba.erasing', 'acts', true);
    WITH due AS (
        SELECT id FROM operator_acts
        WHERE acted_at < least(acted_before, now() - interval '365 days') AND erased_at IS NULL
        ORDER BY id LIMIT at_most FOR UPDATE SKIP LOCKED)
    UPDATE operator_acts a SET who = '', why = NULL, credential = NULL, ids = '[]', chosen_by = '{}', erased_at = now(),
        sealed_digest = sha256(convert_to(jsonb_build_array('act', a.id, a.who, a.what, a.why, a.credential, a.ids,
            a.chosen_by, (extract(epoch FROM a.acted_at) * 1000000)::bigint)::text, 'UTF8'))
    WHERE a.id = ANY (ARRAY(SELECT id FROM due));
    GET DIAGNOSTICS erased = ROW_COUNT;
    PERFORM set_config('nouba.erasing', '', true);
    RETURN erased;
END $$;
"""
_STATISTICS = """
CREATE OR REPLACE FUNCTION refuse_change_of_statistics() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('nouba.erasing', true) = 'statistics' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'versions in daily_stats are never changed or deleted; compute the day again for a new one'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE FUNCTION delete_old_statistics(computed_before timestamptz, at_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    deleted integer;
BEGIN
    PERFORM set_config('nouba.erasing', 'statistics', true);
    WITH due AS (
        SELECT s.ctid FROM daily_stats s JOIN daily_stats_newest n ON n.day = s.day AND s.version < n.version
        WHERE s.computed_at < least(computed_before, now() - interval '1 day')
        LIMIT at_most FOR UPDATE OF s SKIP LOCKED)
    DELETE FROM daily_stats WHERE ctid = ANY (ARRAY(SELECT ctid FROM due));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    PERFORM set_config('nouba.erasing', '', true);
    RETURN deleted;
END $$;
"""
DUTIES = ("erase_webhook_bodies", "erase_dead_letters", "erase_operator_acts", "delete_old_statistics")


def upgrade() -> None:
    op.add_column("webhook_events", sa.Column("body_erased_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("operator_acts", sa.Column("erased_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("operator_acts", sa.Column("sealed_digest", sa.LargeBinary(), nullable=True))
    op.add_column("transcode_jobs", sa.Column("source_removed_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.execute("ALTER TABLE row_versions DROP CONSTRAINT ck_row_versions_kind_known")
    # every row satisfied the narrower one, so none has to be read
    op.execute(
        "ALTER TABLE row_versions ADD CONSTRAINT ck_row_versions_kind_known"
        " CHECK (kind IN ('payment', 'verdict', 'body')) NOT VALID"
    )
    op.execute(_RECORDED + _BODIES + _LETTERS + _ACTS + _STATISTICS)
    for duty in DUTIES:
        op.execute(f"REVOKE ALL ON FUNCTION {duty}(timestamptz, integer) FROM PUBLIC")
    op.execute("REVOKE ALL ON FUNCTION erase_bodies_of_user(bigint) FROM PUBLIC")
