"""What of all traffic is counted: by what raised an alert, and for how many callers each."""

import numpy as np

from nearnorm.service.events.traffic_counter import MOST_CALLERS, OTHERS, RaisedBy, TrafficCounter

SCORES = np.array([0.1, 0.9], np.float32)


def test_alerts_are_counted_by_what_raised_them() -> None:
    counter = TrafficCounter()
    counter.note("default", "v", "app", SCORES, RaisedBy(1, 0, 0, 0))
    counter.note("default", "v", "app", SCORES, RaisedBy(0, 2, 0, 1))
    counter.count()
    counter.note("default", "v", "app", SCORES, RaisedBy(1, 1, 3, 1))
    counter.count()
    (app,) = counter.changed()
    assert (app.rows, app.by_score, app.by_novelty, app.by_label, app.held_back) == (6, 2, 3, 3, 2)


def test_the_first_callers_of_an_hour_are_counted_each_by_himself_and_the_rest_together() -> None:
    counter = TrafficCounter()
    for number in range(MOST_CALLERS + 3):
        counter.note("default", "v", f"caller-{number:02}", SCORES, RaisedBy())
    counter.note("default", "other version", "caller-99", SCORES, RaisedBy())
    counter.count()
    counter.note("default", "v", "caller-00", SCORES, RaisedBy())  # is known, though the places are taken
    counter.count()
    rows = {(one.version, one.caller): one.rows for one in counter.changed()}
    assert rows.pop(("other version", "caller-99")) == 2, "another version's callers have places of their own"
    assert rows.pop(("v", OTHERS)) == 6
    assert rows.pop(("v", "caller-00")) == 4
    assert rows == {("v", f"caller-{number:02}"): 2 for number in range(1, MOST_CALLERS)}


def test_what_is_written_is_not_written_again_until_it_changes() -> None:
    counter = TrafficCounter()
    counter.note("default", "v", "app", SCORES, RaisedBy())
    counter.count()
    counter.written()
    assert counter.changed() == []
    counter.note("default", "v", "app", SCORES, RaisedBy())
    counter.count()
    assert [one.rows for one in counter.changed()] == [4], "a row of the ledger has the whole hour"
