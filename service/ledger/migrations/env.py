"""Alembic's entry: runs in the transaction that nearnorm.service.ledger.migrate opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
