"""What a preview says, as people read it."""

from typing import Any

import pytest

from nearnorm.service.pages.effects import in_words

QUIET: dict[str, Any] = {
    "records": 1,
    "judged": [],
    "held": [],
    "second_opinion": [],
    "reference": {"leave": 0, "back": 0},
    "alerts": {"raised": 1412, "more": 0, "fewer": 0, "threshold": {"now": 0.8, "then": 0.8}},
    "equal": {"events": 1, "alerts": 1},
    "retraining": {"new_labels": 18, "triggers_at": 20, "left": 2},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ["no other alert changes", "2 more verdicts until a retraining"]),
        ({"retraining": {"left": 0}}, ["no other alert changes", "a retraining starts"]),
        ({"retraining": {"left": 1}}, ["no other alert changes", "1 more verdict until a retraining"]),
        (
            {"reference": {"leave": 1, "back": 0}, "alerts": QUIET["alerts"] | {"more": 1037}},
            [
                "1 row out of the reference",
                "1,037 more alerts in a week like the last, which had 1,412",
                "2 more verdicts until a retraining",
            ],
        ),
        (
            {"alerts": None, "equal": {"events": 5, "alerts": 4}, "judged": [0], "held": [0]},
            [
                "another analyst has it now",
                "it was judged before",
                "5 equal events of the last week, 4 of them alerts",
                "the threshold is solved anew within a minute",
                "2 more verdicts until a retraining",
            ],
        ),
        (
            {"records": 9, "equal": {"events": 9, "alerts": 9}, "second_opinion": [1, 2], "held": [4]},
            [
                "1 with other analysts now",
                "no other alert changes",
                "2 contradict the model and train nothing until somebody says the same; "
                "2 more verdicts until a retraining",
            ],
        ),
    ],
)
def test_what_is_worth_saying_is_said(change: dict[str, Any], words: list[str]) -> None:
    assert in_words(QUIET | change) == words
