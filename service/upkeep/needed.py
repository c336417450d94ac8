"""Which versions may not be deleted, and why: by the store's activation log, and by the ledger's jobs."""

import sqlalchemy as sa

from nearnorm.models.store.folder import ModelStore
from nearnorm.models.store.in_use import in_use
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.jobs import jobs
from nearnorm.service.ledger.tables.swaps import swaps


def needed(store: ModelStore, ledger: Ledger) -> dict[str, str]:
    """By version why it stays. A job that waits begins with the champion; one that runs, its shadow period
    with it, holds its champion beside what it made. Raises StoreError, LedgerUnavailable."""
    with ledger.read() as connection:
        running = connection.execute(
            sa.select(jobs.c.job_id, jobs.c.champion, jobs.c.version).where(jobs.c.state == "running")
        ).all()
        watched = connection.execute(
            sa.select(swaps.c.version, swaps.c.before).where(swaps.c.outcome == "watching")
        ).all()
    found: dict[str, str] = {}
    for swap in watched:
        for version in (swap.version, swap.before):
            found[version] = "the watch after a swap compares it"
    for job in running:
        for version in (job.champion, job.version):
            if version is not None:
                found[version] = f"job {job.job_id} runs with it"
    return found | in_use(store)
