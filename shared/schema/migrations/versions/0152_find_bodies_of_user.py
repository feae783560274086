"""Which webhooks tell of a person: also those without a payment, whose body names what is known of the person.

A provider's event about an invoice, a customer or a checkout is settled without a payment of its own, and holds the
payer's name and address all the same. Its body names the invoice, the customer or the payment, as a JSON string.
"""

from alembic import op

revision = "0152"
down_revision = "0151"

_OF_USER = """
CREATE FUNCTION webhooks_of_user(of_user bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH mine AS (SELECT id, provider, provider_reference, order_number FROM payments WHERE user_id = of_user),
    known (provider, object_id) AS (
        SELECT provider, provider_reference FROM mine WHERE provider_reference IS NOT NULL
        UNION SELECT provider, order_number FROM mine WHERE order_number IS NOT NULL
        UNION SELECT provider, object_id FROM payment_links WHERE user_id = of_user
        UNION SELECT link.provider, link.object_id FROM payment_links AS link
              JOIN mine ON mine.provider = link.provider AND mine.provider_reference = link.reference)
    SELECT id FROM webhook_events WHERE payment_id IN (SELECT id FROM mine) AND body_erased_at IS NULL
    UNION
    SELECT one.id FROM webhook_events AS one JOIN known USING (provider)
    WHERE one.payment_id IS NULL AND one.body_erased_at IS NULL
      AND position(convert_to(to_json(known.object_id)::text, 'UTF8') IN one.body) > 0;
$$;
"""
_ERASE = """
CREATE OR REPLACE FUNCTION erase_bodies_of_user(of_user bigint) RETURNS integer
LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH due AS (
        SELECT id FROM webhook_events WHERE id IN (SELECT webhooks_of_user(of_user)) AND sha256(body) = body_sha256
        AND (state IN ('applied', 'ignored') OR state IN ('quarantined', 'dead') AND resolution IS NOT NULL) ORDER BY id FOR UPDATE),
    erased AS (
        UPDATE webhook_events SET body = '', body_erased_at = now() WHERE id = ANY (ARRAY(SELECT id FROM due)) RETURNING 1)
    SELECT count(*)::integer FROM erased;
$$;
"""


def upgrade() -> None:
    op.execute(_OF_USER)
    op.execute(_ERASE)
