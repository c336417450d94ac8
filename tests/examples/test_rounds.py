"""What a round comes to."""

import numpy as np

from examples.rounds import FIRST, SERVED, compared


def test_a_model_is_held_to_as_many_alerts_as_the_service_raised() -> None:
    truth = np.array([True, True, False, False, True])
    alerts = np.array([False, True, True, False, False])
    scores = {SERVED: np.array([0.9, 0.5, 0.4, 0.1, 0.2]), FIRST: np.array([0.9, 0.8, 0.1, 0.2, 0.7])}
    found = compared("week", truth, alerts, scores, "a retraining refused: why").found
    assert found == {SERVED: 1, FIRST: 2}, "of the service what it raised, of others the highest two"
