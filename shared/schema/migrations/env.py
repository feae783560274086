"""How Alembic reaches the database: over the connection that shared.runtime.migrations opened."""

from alembic import context

from shared.schema.tables import metadata

# One transaction a migration: locks go as soon as possible, and what is applied stays when a later one has to wait.
context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transaction_per_migration=True
)
with context.begin_transaction():
    context.run_migrations()
