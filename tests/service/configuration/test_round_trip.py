"""Whatever is in force: the file that export writes changes nothing, and brings it about where it is gone."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.manifest import Manifest
from nearnorm.service.access import keyring, line_quotas
from nearnorm.service.configuration.apply import Applied, apply
from nearnorm.service.configuration.champions import ground_of
from nearnorm.service.configuration.export import export
from nearnorm.service.configuration.file import read
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger, sqlite_url
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.tables.feedback import quarantine
from nearnorm.service.ledger.tables.feedback.quarantine import LabellerKind, Quarantine
from nearnorm.service.retraining.jobs import turns
from nearnorm.service.retraining.jobs.requests import Rule
from nearnorm.service.verdict import policies
from nearnorm.service.verdict.policies import Change

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
BUDGETS = st.sampled_from(["1%", "2% of normal", "20%", "0.5 % of normal traffic"])
LIMITS = st.none() | st.integers(1, 2**63 - 1)
CHANGES = st.tuples(BUDGETS, st.booleans(), st.floats(0.001, 365.0), st.booleans())
MODELS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True)
LINES = st.tuples(st.builds(Quota, LIMITS, LIMITS, LIMITS), st.none() | st.integers(1, 100))
KINDS: list[LabellerKind] = ["analyst", "key"]
LABELLERS = st.tuples(st.sampled_from(KINDS), TEXTS, st.none() | MODELS)


class State:
    """A ledger, and the manifest of every model."""

    def __init__(self, ledger: Ledger, manifest: Manifest) -> None:
        self.ledger = ledger
        self.manifest = manifest


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, payments: Bundle) -> Iterator[State]:
    ledger = Ledger(sqlite_url(tmp_path_factory.mktemp("ledger") / "nearnorm.db"))
    migrate(ledger)
    yield State(ledger, payments.manifest)
    ledger.close()


def applied(connection: sa.Connection, text: str, champions: dict[str, Manifest]) -> Applied:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "nearnorm.toml"
        file.write_text(text, encoding="utf-8")
        return apply(connection, read(file), champions, Rule(20, 0), "test")


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(
    models=st.dictionaries(TEXTS, st.none() | CHANGES, max_size=3),
    quotas=st.lists(st.builds(Quota, LIMITS, LIMITS, LIMITS, LIMITS), max_size=3),
    held=st.dictionaries(MODELS, LINES, max_size=3),
    quarantined=st.dictionaries(LABELLERS, TEXTS, max_size=4),
)
def test_what_is_exported_changes_nothing_and_brings_back_what_was(
    state: State,
    models: dict[str, tuple[str, bool, float, bool] | None],
    quotas: list[Quota],
    held: dict[str, tuple[Quota, int | None]],
    quarantined: dict[tuple[LabellerKind, str, str | None], str],
) -> None:
    champions = dict.fromkeys(models, state.manifest)
    with state.ledger.attempt() as connection:
        for model, change in models.items():
            if change:
                put = Change(model, *change)
                policies.put(connection, put, ground_of(connection, champions, model), "test")
        for number, quota in enumerate(quotas):
            keyring.create(connection, f"key {number}.", ["score"], "test", quota)
        for model, (quota, priority) in held.items():
            line_quotas.limit(connection, model, quota, "test")
            if priority is not None:
                turns.prefer(connection, model, priority, "test")
        for (kind, name, where), why in quarantined.items():
            quarantine.add(connection, Quarantine(kind, name, now_ms(), "test", why, where))
        text = export(connection, champions)
        assert applied(connection, text, champions).differences == []

        for model, change in models.items():
            if change:
                other = Change(model, "7%", not change[1], 3.25, not change[3])
                policies.put(connection, other, ground_of(connection, champions, model), "test")
        for number, quota in enumerate(quotas):
            keyring.limit(connection, f"key {number}.", Quota(quota.rows_per_request), "test")
        for model, (quota, priority) in held.items():
            if quota.limits() or (priority or 1) != 1:  # of others the file says nothing
                line_quotas.limit(connection, model, Quota(quota.rows_per_request, 7), "test")
                turns.prefer(connection, model, 9, "test")
        applied(connection, text, champions)
        assert export(connection, champions) == text
