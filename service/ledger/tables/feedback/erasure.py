"""What goes from the labels for good: a person's data, an analyst's name, verdicts that nobody needs."""

import sqlalchemy as sa

from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables.events import candidates
from nearnorm.service.ledger.tables.feedback import claims, quarantine, second_opinions, skips, snoozes
from nearnorm.service.ledger.tables.feedback.labels import ERASED, labels, verdicts


def erase_record(connection: sa.Connection, record_id: str, lines: SeenLines = EVERY_LINE) -> int:
    """Blank every label about the caller's record: the receipt stays, the person's data go."""
    theirs = sa.and_(labels.c.record_id == record_id, lines.where(labels.c.model))
    query = sa.select(labels.c.model, labels.c.digest).where(theirs)
    doomed = [(row.model, row.digest) for row in connection.execute(query)]
    if not doomed:
        return 0
    change = tick(connection, "labels")
    for model in {model for model, _ in doomed}:
        digests = {digest for of, digest in doomed if of == model} - {ERASED}
        same = sa.and_(labels.c.model == model, labels.c.digest.in_(digests))
        blank = sa.update(labels).values(
            digest=ERASED, record="{}", event_id=None, record_id=None, comment=None, change=change
        )
        connection.execute(blank.where(sa.or_(same, theirs)))
        gone = sa.and_(verdicts.c.model == model, verdicts.c.digest.in_(digests))
        connection.execute(sa.update(verdicts).where(gone).values(verdict="none", change=change, at=now_ms()))
        second_opinions.erase(connection, model, sorted(digests))
        claims.end(connection, model, sorted(digests))
        skips.erase_equal(connection, sorted(digests), lines)
        snoozes.erase_equal(connection, sorted(digests), lines)
        candidates.judge(connection, model, digests)
    return len(doomed)


def erase_analyst(connection: sa.Connection, analyst: str, pseudonym: str, lines: SeenLines) -> int:
    """Their verdicts stay, under a pseudonym, in quarantine where they were; their name and words go."""
    theirs = sa.and_(labels.c.analyst == analyst, lines.where(labels.c.model))
    blank = sa.update(labels).where(theirs).values(analyst=pseudonym, comment=None)
    if lines.is_every:
        quarantine.rename_analyst(connection, analyst, pseudonym)
    else:
        quarantine.extend_to(connection, analyst, pseudonym)
    quarantine.rename_in_lines(connection, analyst, pseudonym, lines)
    audit.rename_analyst(connection, analyst, pseudonym, lines)
    return connection.execute(blank).rowcount


def prune(connection: sa.Connection, before_ms: int) -> None:
    """Drop verdicts that were taken back or erased, once every replica has heard of it."""
    over = sa.and_(verdicts.c.verdict == "none", verdicts.c.at < before_ms)
    connection.execute(sa.delete(verdicts).where(over))
