import numpy as np
import pytest

from tests.benchmarks.detection.bench_normals import OURS, PEERS, WAYS, WITHOUT, Cell, table, weights_of


def test_all_confirmed_normals_weigh_as_much_as_all_unlabelled_rows_or_what_is_asked() -> None:
    labels = np.array([1, 0, 0, -1, -1, -1, -1, -1])
    assert weights_of(labels, None).tolist() == [1.0, 2.5, 2.5, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert weights_of(labels, 10.0).tolist() == [1.0, 10.0, 10.0, 1.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("way", WITHOUT)
def test_a_way_is_held_against_the_same_anomalies_without_its_normals(way: str) -> None:
    """Ours gains 0.1 by the normals of one way, a peer of the best weight 0.02, and the found anomalies are
    worth 0.3 to both."""
    cells = []
    for name in ("one", "two"):
        for other in WAYS:
            found = 0.3 * (other in {"found", "verdicts"})
            cells.append(Cell(name, 0, other, OURS, 0.5 + found + 0.1 * (other == way)))
            for peer in PEERS:
                for weight, gain in (("10", 0.01), ("even", 0.02)) if other in WITHOUT else (("", 0.0),):
                    cells.append(Cell(name, 0, other, f"{peer} {weight}".rstrip(), 0.4 + found + gain))
    lines = table(cells).splitlines()
    assert next(line for line in lines if line.startswith(f"| {way} | {OURS} |")).endswith(
        "| +0.100 ± 0.000 |"
    )
    said = next(line for line in lines if line.startswith(f"{way}: lead"))
    assert "lead +0.100 ± 0.000 without, +0.180 ± 0.000 with" in said
    assert "ours less that +0.080 ± 0.000" in said
