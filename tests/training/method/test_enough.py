from nearnorm.training.method.enough import ENOUGH, FEW, enough


def test_what_a_few_anomalies_cannot_hold_comes_in_as_they_grow() -> None:
    shares = [enough(anomalies) for anomalies in (0, 1, FEW, (FEW + ENOUGH) // 2, ENOUGH, 1_000)]
    assert shares == [0.0, 0.0, 0.0, 0.5, 1.0, 1.0]
