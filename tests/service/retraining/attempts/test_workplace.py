"""A worker that is busy is there: it greets whenever it renews the lease of its job."""

from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.retraining.attempts import workplace
from nearnorm.service.settings import Settings
from tests.service.retraining.jobs.test_jobs import asked, take


def test_a_worker_that_judges_for_long_is_not_taken_to_be_gone(ledger: Ledger, settings: Settings) -> None:
    place = workplace.Workplace(settings)
    job = asked(ledger)
    assert take(ledger, place.name)
    with ledger.read() as connection:
        assert place.name not in jobs.alive(connection, now_ms() - 60_000)
    place.renew(job, stage="gate")
    with ledger.read() as connection:
        assert place.name in jobs.alive(connection, now_ms() - 60_000)
    place.ledger.close()
