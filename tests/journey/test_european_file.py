"""A bank's export, as Excel and warehouses in Europe write it, goes from `inspect` to a served model: nobody
opens an editor, but for the schema file."""

import gzip
import os
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from tests.journey.loop import NEARNORM, serving

ROWS, FRAUDS, LABELLED, NEW = 2_000, 26, 20, 40
HEADER = "Überweisung;Betrag;Gebühr €;Konto eröffnet;Gebucht am;Händler-PLZ;Land;Bestätigt;Betrug"
START = datetime(2025, 3, 1)
rng = np.random.default_rng(7)


def german(number: float) -> str:
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


def line(row: int, fraud: bool, label: str) -> str:
    """Frauds happen at night, from young accounts."""
    hour = rng.uniform(1, 4) if fraud else rng.normal(14, 3)
    booked = START + timedelta(days=int(rng.integers(0, 200)), hours=float(hour))
    opened = booked - timedelta(days=float(rng.uniform(1, 20) if fraud else rng.uniform(100, 4_000)))
    cells = [
        f"Ü-{row:05}",
        german(rng.lognormal(6, 1)),
        f"{german(rng.uniform(0, 9))} €",
        opened.strftime("%d.%m.%Y"),
        booked.strftime("%d.%m.%Y %H:%M"),
        rng.choice(["01067", "80331", "10115", "04103"]),
        rng.choice(["Österreich", "Deutschland", "Schweiz", "NA"], p=[0.3, 0.5, 0.15, 0.05]),
        rng.choice(["ja", "nein"]),
        label,
    ]
    return ";".join(cells)


def test_a_semicolon_file_with_commas_umlauts_and_dates_is_served(tmp_path: Path) -> None:
    home, environment = tmp_path / "home", os.environ | {"NEARNORM_HOME": str(tmp_path / "home")}

    def nearnorm(*words: str) -> str:
        run = subprocess.run([NEARNORM, *words], env=environment, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stderr
        return run.stdout + run.stderr

    lines = [line(row, row < FRAUDS, "Betrug" if row < LABELLED else "") for row in range(ROWS)]
    training, later = tmp_path / "umsätze.csv.gz", tmp_path / "später.csv"
    training.write_bytes(gzip.compress(("\r\n".join([HEADER, *lines]) + "\r\n").encode("cp1252")))
    new = [line(ROWS + row, row < NEW // 2, "") for row in range(NEW)]
    later.write_bytes(("\r\n".join(["sep=;", HEADER, *new])).encode("utf-8-sig"))  # with a byte order mark

    schema, bundle = tmp_path / "schema.toml", tmp_path / "model"
    shown = nearnorm("inspect", str(training), "--label-column", "Betrug", "--write", str(schema))
    for column, kind in (
        ("Überweisung", "id"),
        ("Betrag", "numeric"),
        ("Gebühr €", "numeric"),
        ("Konto eröffnet", "time"),
        ("Gebucht am", "time"),
        ("Händler-PLZ", "code"),
        ("Land", "categorical"),
    ):
        assert any(
            row.split(column)[1].split()[0] == kind
            for row in shown.splitlines()
            if row.startswith(f"  {column} ")
        ), column
    text = schema.read_text(encoding="utf-8")
    assert 'format = "dmy"' in text
    assert 'since = ["Konto eröffnet"]' in text
    schema.write_text(text.replace('zone = ""', 'zone = "Europe/Berlin"'), encoding="utf-8")

    words = ["--label-column", "Betrug", "--anomaly-value", "Betrug", "--schema", str(schema)]
    nearnorm("train", str(training), *words, "--time-column", "Gebucht am", "--out", str(bundle))
    scores = tmp_path / "scores.csv"
    nearnorm("score", str(bundle), str(later), "--out", str(scores))
    nearnorm("models", "activate", nearnorm("models", "import", str(bundle)).split()[-1])
    record = {
        "Überweisung": "Ü-99999",
        "Betrag": 1234.5,
        "Gebühr €": 1.2,
        "Händler-PLZ": "01067",
        "Land": "Österreich",
        "Bestätigt": "ja",
    }
    usual = record | {"Konto eröffnet": "01.02.2020", "Gebucht am": "2025-06-03T12:10:00Z"}
    fraud = record | {"Konto eröffnet": "29.05.2025", "Gebucht am": "03.06.2025 02:10"}
    with serving(home) as client:
        answer = client.score([usual, fraud], explain=True)
    first, second = answer
    assert answer.warnings == []
    assert not {"imputed", "unknown"} & {*first, *second}
    assert (first["anomaly"], second["anomaly"]) == (False, True)
    assert {reason["feature"] for reason in second["reasons"]} & {"Konto eröffnet", "Gebucht am"}
    assert second["reasons"][0]["value"] in (
        fraud["Gebucht am"],
        "2025-06-03T02:10:00",
        "2025-05-29T00:00:00",
    )
