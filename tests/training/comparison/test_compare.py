import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from nearnorm.models.errors import DataError
from nearnorm.training.comparison.baselines import BASELINES, encode
from nearnorm.training.comparison.compare import NEARNORM, Trial, hold_trial, verdict
from nearnorm.training.comparison.report import trial_html
from nearnorm.training.dataset.load import load
from tests.training.conftest import PAYMENTS, PAYMENTS_HELD_OUT
from tests.training.samples import quick
from tests.training.test_commands import nearnorm


def made(ours: list[float], theirs: list[float]) -> Trial:
    precision = {NEARNORM: ours, **{name: [0.1] * len(ours) for name in BASELINES}, "PU ExtraTrees": theirs}
    return Trial(10, 900, 27, True, precision, precision)


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        ([0.8, 0.9, 0.7], [0.5, 0.4, 0.75], "Nearnorm is worth it here: with 10 labelled anomalies"),
        ([0.5, 0.5, 0.5], [0.8, 0.8, 0.8], "Nearnorm is not worth it here"),
        ([0.51, 0.5, 0.5], [0.5, 0.5, 0.5], "Nearnorm and the best alternative are even here"),
    ],
)
def test_the_verdict_is_a_plain_sentence_that_can_go_either_way(
    ours: list[float], theirs: list[float], told: str
) -> None:
    sentence = verdict(made(ours, theirs))
    assert sentence.startswith(told)
    assert "PU ExtraTrees" in sentence


def test_the_verdict_tells_in_how_many_splits_nearnorm_was_ahead() -> None:
    assert "ahead in 2 of 3 splits" in verdict(made([0.8, 0.9, 0.7], [0.5, 0.4, 0.75]))


def test_every_method_is_judged_on_the_same_splits_and_beats_guessing() -> None:
    seen: list[float] = []
    trial = hold_trial(
        load(PAYMENTS_HELD_OUT, "label", labels_as_they_are=True), quick(), 10, 2, 0, seen.append
    )
    assert set(trial.average_precision) == {NEARNORM, *BASELINES}
    assert all(len(scores) == 2 for scores in trial.average_precision.values())
    assert (trial.test_rows, trial.test_anomalies, trial.normals_known) == (300, 9, True)
    for name, scores in trial.average_precision.items():
        assert np.mean(scores) > 0.1, name
    assert seen == [0.5, 1.0]


def test_where_few_normals_are_confirmed_the_page_says_that_figures_are_lower_bounds() -> None:
    trial = hold_trial(load(PAYMENTS, "label"), quick(), 5, 1, 0, lambda done: None)
    assert not trial.normals_known
    page = trial_html(trial, "<b>.csv", 0)
    assert "all figures are lower bounds" in page
    assert "&lt;b&gt;.csv" in page
    assert page.count("<svg") == 2


def test_too_few_anomalies_for_a_trial_are_refused_with_the_number_there_is() -> None:
    with pytest.raises(
        DataError, match="the data has 20 labelled anomalies, and 6 of them would be held out"
    ):
        hold_trial(load(PAYMENTS, "label"), quick(), 15, 1, 0, lambda done: None)


def test_medians_and_categories_of_the_matrix_come_from_training_rows_alone() -> None:
    numeric = np.array([[1.0], [3.0], [np.nan], [100.0]])
    codes = np.array([[2], [3], [1], [0]])
    matrix = encode(numeric, codes, np.array([0, 1, 2]), (4,))
    assert matrix.tolist() == [[1, 0, 1, 0], [3, 0, 0, 1], [2, 1, 0, 0], [100, 0, 0, 0]]


def test_the_command_writes_a_page_and_figures_and_ends_with_the_verdict(tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text("[fit]\nrepresentation_epochs = 1\njoint_epochs = 2\nmembers = 2\n")
    done: subprocess.CompletedProcess[str] = nearnorm(
        *("evaluate", PAYMENTS_HELD_OUT, "--out", tmp_path / "trial", "--splits", 1),
        *("--config", tmp_path / "quick.toml"),
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "trial" / "evaluation.json").read_bytes())
    assert done.stdout.splitlines() == [figures["verdict"], str(tmp_path / "trial" / "evaluation.html")]
    assert figures["verdict"] in (tmp_path / "trial" / "evaluation.html").read_text().replace("&#x27;", "'")


def test_the_command_refuses_data_without_enough_anomalies_in_one_line(tmp_path: Path) -> None:
    pq.write_table(pq.read_table(PAYMENTS_HELD_OUT).slice(0, 60), tmp_path / "few.parquet")
    done = nearnorm("evaluate", tmp_path / "few.parquet", "--out", tmp_path / "trial")
    assert done.returncode == 2
    assert "labelled anomalies" in done.stderr
    assert not (tmp_path / "trial").exists()


def test_a_trial_is_not_written_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "trial").write_text("mine")
    done = nearnorm("evaluate", PAYMENTS_HELD_OUT, "--out", tmp_path / "trial")
    assert (done.returncode, done.stderr.strip()) == (
        2,
        f"nearnorm: {tmp_path / 'trial'} is a file: give --out a folder",
    )
    assert (tmp_path / "trial").read_text() == "mine"
