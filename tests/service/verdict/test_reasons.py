"""Why a record looks strange, most telling first."""

from typing import Any

import numpy as np
import pytest

from nearnorm.models.bundle import Bundle
from nearnorm.models.manifest import NumericProfile
from nearnorm.service.verdict.reasons import Explainer, Value

USUAL: dict[str, Value] = {
    "amount": 50.0,
    "epoch": 1.7e9,
    "new device": False,
    "country": "DE",
    "channel": "web",
}


@pytest.fixture(scope="module")
def explainer(bundle: Bundle) -> Explainer:
    return Explainer(bundle.manifest.core)


def reasons(explainer: Explainer, residual: list[float] | None = None, **changed: Value) -> list[Any]:
    record = USUAL | {name.replace("_", " "): value for name, value in changed.items()}
    return explainer.reasons(record, 0, np.array(residual or [0.0] * 5, np.float32))


def test_a_usual_record_needs_no_reason(explainer: Explainer) -> None:
    assert reasons(explainer) == []


def test_a_number_outside_the_groups_range_is_a_reason(explainer: Explainer) -> None:
    (reason,) = reasons(explainer, amount=95.0)
    assert (reason.feature, reason.value, reason.expected["high"]) == ("amount", 95.0, 80.0)


def test_a_large_residual_is_a_reason_on_its_own(explainer: Explainer) -> None:
    (reason,) = reasons(explainer, residual=[0, 1e6, 0, 0, 0])
    assert reason.feature == "epoch"
    assert reason.residual > reason.usual_residual


def test_a_category_that_the_group_does_not_have_is_a_reason(explainer: Explainer) -> None:
    (reason,) = reasons(explainer, country="7")
    assert reason.value == "7"
    assert reason.expected["shares"]["DE"] == 0.5


def test_a_gap_where_the_group_has_none_is_a_reason(explainer: Explainer) -> None:
    assert [r.feature for r in reasons(explainer, channel=None)] == ["channel"]
    assert reasons(explainer, country=None) == []  # a tenth of the group has no country


def test_the_most_telling_comes_first_and_there_are_at_most_five(explainer: Explainer) -> None:
    found = reasons(
        explainer,
        residual=[1, 1e9, 2, 3, 4],
        amount=1e6,
        epoch=0.0,
        new_device=True,
        country="?",
        channel="?",
    )
    assert found[0].feature == "epoch"
    assert len(found) == 5


def test_a_group_tells_how_it_looks(explainer: Explainer, bundle: Bundle) -> None:
    group = explainer.group(1)
    assert group is not None
    numeric = bundle.manifest.core.groups[1].numeric["amount"]
    assert NumericProfile.model_validate(group["numeric"]["amount"]) == numeric
    assert explainer.group(99) is None
