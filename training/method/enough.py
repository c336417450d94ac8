"""Whether there are labelled anomalies enough for confirmed normals to be learnt one by one beside them."""

FEW, ENOUGH = 10, 20


def enough(anomalies: int) -> float:
    """0 up to FEW labelled anomalies, 1 from ENOUGH on, and in proportion between them."""
    return min(max((anomalies - FEW) / (ENOUGH - FEW), 0.0), 1.0)
