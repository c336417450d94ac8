"""Why a record looks strange: what its values put on the score, most telling first."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.manifest import Core, NumericProfile
from nearnorm.service.inference.engine import Engine
from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Rows
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.shapes import Envelope, Reason
from nearnorm.service.verdict.reasons import Explainer

USUAL: dict[str, Any] = {
    "amount": 50.0,
    "epoch": 1.7e9,
    "new device": False,
    "country": "DE",
    "channel": "web",
}
Run = Callable[[Rows], Outputs]


def scores(weights: dict[str, float], prototype: int = 0) -> Run:
    """A model by hand: a value's weight is added to the logit where the value is none of the group's."""

    def run(rows: Rows) -> Outputs:
        n = len(rows)
        strange = {
            "amount": np.abs(rows.numeric[:, 0] - 50.0) > 30.0,
            "epoch": ~(np.abs(rows.numeric[:, 1] - 1.7e9) <= 1e5),
            "new device": rows.numeric[:, 2] == 1.0,
            "country": rows.codes[:, 0] != 2,
            "channel": rows.codes[:, 1] != 2,
        }
        logit = sum((weights.get(name, 0.0) * odd for name, odd in strange.items()), np.full(n, -3.0))
        both = weights.get("amount and epoch", 0.0)
        logit = logit + both * (strange["amount"] & strange["epoch"])
        similarity = np.full((n, 2), 0.1, np.float32)
        similarity[:, prototype] = 0.9
        zero = np.zeros(n, np.float32)
        return Outputs(
            (1.0 / (1.0 + np.exp(-logit))).astype(np.float32),
            similarity,
            np.full(n, prototype),
            zero,
            zero,
            np.zeros((n, 5), np.float32),
        )

    return run


@pytest.fixture(scope="module")
def core(bundle: Bundle) -> Core:
    ordinary = [0.047] * bundle.manifest.core.reference.rows  # a logit of about -3
    reference = bundle.manifest.core.reference.model_copy(update={"scores": tuple(ordinary)})
    return bundle.manifest.core.model_copy(update={"reference": reference})


def reasons(
    core: Core, run: Run, residual: NDArray[np.float32] | None = None, **changed: Any
) -> list[Reason]:
    record = USUAL | {name.replace("_", " "): value for name, value in changed.items()}
    encoder = Encoder(core.features, 10)
    encoded = encoder.encode(Envelope(records=[record]))
    outputs = run(encoded.rows)
    if residual is not None:
        outputs.residual = residual[None]
    explainer = Explainer(core, run)
    (explained,) = explainer.explain(encoded.rows, outputs)
    return explainer.reasons(encoder.record(encoded, 0), explained, outputs.residual[0].tolist())


def test_a_usual_record_needs_no_reason(core: Core) -> None:
    assert reasons(core, scores({"amount": 2.0})) == []


def test_the_value_that_puts_most_on_the_score_comes_first(core: Core) -> None:
    run = scores({"amount": 1.0, "country": 3.0})
    found = reasons(core, run, amount=95.0, country="FR")
    assert [(r.feature, r.value) for r in found] == [("country", "FR"), ("amount", 95.0)]
    assert [r.effect for r in found] == pytest.approx([3.0, 1.0], abs=0.01)
    assert [r.together for r in found] == pytest.approx([3.0, 4.0], abs=0.01)
    assert found[1].expected["high"] == 80.0


def test_two_values_that_count_only_together_are_found_together(core: Core) -> None:
    found = reasons(core, scores({"amount and epoch": 4.0}), amount=900.0, epoch=0.0)
    assert {r.feature for r in found} == {"amount", "epoch"}
    assert max(r.together for r in found) == pytest.approx(4.0, abs=0.01)


def test_what_a_value_takes_beneath_an_ordinary_score_counts_for_nothing(core: Core) -> None:
    lower = scores({"amount": 2.0, "country": -2.0})  # this country makes up for this amount
    assert reasons(core, lower, amount=79.0, country="FR") == []


def test_a_value_without_any_effect_is_named_only_where_nobody_has_seen_it_and_after_the_others(
    core: Core,
) -> None:
    run = scores({"country": 3.0})
    assert [r.feature for r in reasons(core, run, country="FR", amount=999.0)] == ["country"]
    assert [r.feature for r in reasons(core, run, country="FR", amount=9e9)] == ["country", "amount"]


def test_a_value_without_which_the_score_would_be_higher_is_no_reason(core: Core) -> None:
    run = scores({"amount": -1.0, "country": 3.0})
    assert [r.feature for r in reasons(core, run, country="FR", amount=999.0)] == ["country"]


def test_a_large_residual_makes_a_value_odd(core: Core) -> None:
    (reason,) = reasons(core, scores({}), np.array([0, 1e6, 0, 0, 0], np.float32))
    assert reason.feature == "epoch"
    assert reason.residual > reason.usual_residual


def test_a_category_that_nobody_has_seen_is_named_where_the_column_was_closed(core: Core) -> None:
    assert reasons(core, scores({}), country="Atlantis") == []
    assert core.seen is not None
    closed = core.model_copy(update={"seen": core.seen.model_copy(update={"closed": ("country",)})})
    (reason,) = reasons(closed, scores({}), country="Atlantis")
    assert (reason.value, reason.effect) == ("Atlantis", 0.0)
    assert reason.expected["shares"]["DE"] == 0.5


def test_a_gap_where_the_group_has_none_is_a_reason(core: Core) -> None:
    run = scores({"epoch": 0.1})
    numeric = core.groups[0].numeric
    never = numeric | {"epoch": numeric["epoch"].model_copy(update={"missing": 0.0})}
    strict = core.model_copy(update={"groups": (core.groups[0].model_copy(update={"numeric": never}),)})
    assert [r.feature for r in reasons(strict, run, epoch=None)] == ["epoch"]
    assert reasons(core, run, epoch=None) == []  # a tenth of the group has no epoch


def test_at_most_five_features_are_named(core: Core) -> None:
    weights = dict.fromkeys(USUAL, 2.0)
    found = reasons(
        core, scores(weights), amount=1e6, epoch=0.0, new_device=True, country="7", channel="shop"
    )
    assert len(found) == 5
    assert found[-1].together == pytest.approx(10.0, abs=0.02)


def test_a_prototype_without_reference_rows_explains_by_the_nearest_group_that_has_some(core: Core) -> None:
    empty = core.groups[1].model_copy(
        update={
            "rows": 0,
            "numeric": {
                name: NumericProfile(low=None, median=None, high=None, missing=0.0)
                for name in core.groups[1].numeric
            },
        }
    )
    bare = core.model_copy(update={"groups": (core.groups[0], empty)})
    (reason,) = reasons(bare, scores({"amount": 2.0}, prototype=1), amount=900.0)
    assert reason.expected == {"low": 20.0, "median": 50.0, "high": 80.0, "missing": 0.0}


def test_without_any_group_there_are_no_reasons(core: Core) -> None:
    assert reasons(core.model_copy(update={"groups": ()}), scores({"amount": 2.0}), amount=900.0) == []


def test_what_a_group_has_never_is_null(core: Core) -> None:
    numeric = core.groups[0].numeric | {
        "amount": NumericProfile(low=None, median=None, high=None, missing=1.0)
    }
    gaps = core.model_copy(update={"groups": (core.groups[0].model_copy(update={"numeric": numeric}),)})
    found = reasons(gaps, scores({"amount": 2.0}), amount=900.0)
    assert [(r.feature, r.expected) for r in found] == [("amount", {"missing": 1.0})]


def test_a_rows_reasons_are_the_same_in_any_batch(bundle: Bundle) -> None:
    engine = Engine(bundle, "cpu")
    explainer = Explainer(bundle.manifest.core, engine.run)
    rng = np.random.default_rng(0)
    numeric = np.stack([rng.normal(50, 300, 40), rng.normal(1.7e9, 1e6, 40), rng.integers(0, 2, 40)], axis=1)
    rows = Rows(numeric, np.stack([rng.integers(0, 7, 40), rng.integers(0, 4, 40)], axis=1))
    outputs = engine.run(rows)
    together = explainer.explain(rows, outputs)
    for i in range(40):
        (alone,) = explainer.explain(rows.part(i, i + 1), outputs.part(i, i + 1))
        assert [e.feature for e in alone.effects] == [e.feature for e in together[i].effects]


def test_a_group_tells_how_it_looks(core: Core) -> None:
    explainer = Explainer(core, scores({}))
    group = explainer.group(1)
    assert group is not None
    assert NumericProfile.model_validate(group["numeric"]["amount"]) == core.groups[1].numeric["amount"]
    assert explainer.group(99) is None
