"""Make the payments sample: invented card payments with every kind of column that Nearnorm takes.

    python -m nearnorm.training.samples.make_payments

Four kinds of normal (groceries at the till, subscriptions by night, travel, transfers of companies) and
three kinds of fraud (card testing, account takeover, inflated refunds), 3% of the rows. Columns: numbers,
money in cents, epoch seconds, booleans, categories, missing values; an identifier, a constant and a date,
which training leaves out. 20 frauds and 15 normals are labelled; the held-out file is labelled wholly.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TRAIN, HELD_OUT = 3_000, 1_000
FRAUD = 0.03
LABELLED_FRAUDS, LABELLED_NORMALS = 20, 15
FIRST_SECOND = 1_767_225_600  # 2026-01-01 in UTC
DAYS = 90


@dataclass(frozen=True)
class PaymentKind:
    """How payments of one kind are drawn; `hours` is the mean hour of the day, `device` the mean age in
    days of the device, or None where there is none."""

    share: float
    cents: float
    spread: float
    hours: float
    merchants: tuple[str, ...]
    countries: tuple[str, ...]
    channels: tuple[str, ...]
    device: float | None
    attempts: float
    balance: float


HOME, ABROAD = ("DE", "DE", "DE", "AT", "NL"), ("US", "JP", "GB", "AE", "BR", "ZA")
NORMAL = (
    PaymentKind(0.45, 3_200, 0.6, 16, ("grocery", "pharmacy", "bakery"), HOME, ("till",), None, 1.0, 220_000),
    PaymentKind(
        0.25, 1_199, 0.2, 3, ("streaming", "software", "news"), HOME, ("recurring",), 600, 1.0, 180_000
    ),
    PaymentKind(
        0.18, 42_000, 0.8, 20, ("airline", "hotel", "car rental"), ABROAD, ("web", "app"), 350, 1.2, 450_000
    ),
    PaymentKind(0.12, 1_900_000, 0.9, 10, ("supplier", "payroll"), HOME, ("file",), None, 1.0, 9_000_000_000),
)
FRAUDS = (
    PaymentKind(0.4, 150, 0.5, 4, ("software", "charity"), ABROAD, ("web",), 1, 7.0, 190_000),
    PaymentKind(0.35, 190_000, 0.5, 2, ("electronics", "jewellery"), ABROAD, ("app", "web"), 2, 2.5, 210_000),
    PaymentKind(0.25, -95_000, 0.4, 13, ("grocery", "airline"), HOME, ("till", "web"), 200, 1.0, 230_000),
)


def make(rows: int, rng: np.random.Generator) -> tuple[pa.Table, np.ndarray]:
    """Records in random order, and the truth [rows]: 1 for a fraud."""
    truth = (rng.permutation(rows) < round(FRAUD * rows)).astype(int)
    normal = rng.choice(len(NORMAL), rows, p=[kind.share for kind in NORMAL])
    fraud = rng.choice(len(FRAUDS), rows, p=[kind.share for kind in FRAUDS])
    kinds = [FRAUDS[f] if bad else NORMAL[n] for bad, n, f in zip(truth, normal, fraud, strict=True)]

    def column(name: str) -> np.ndarray:
        return np.array([getattr(kind, name) for kind in kinds], float)

    def pick(name: str) -> list[str]:
        return [str(rng.choice(getattr(kind, name))) for kind in kinds]

    hour = (column("hours") + rng.normal(0, 2.5, rows)) % 24
    day = rng.integers(DAYS, size=rows)
    device = rng.gamma(2.0, np.nan_to_num(column("device"), nan=1.0) / 2)
    channels = pick("channels")
    no_device = np.isnan(column("device")) | (rng.random(rows) < 0.05)
    since = np.datetime64("2015-01-01") + rng.integers(4_000, size=rows)
    return pa.table(
        {
            "payment_id": [f"p-{rng.integers(2**48):012x}" for _ in range(rows)],
            "created_at": FIRST_SECOND + day * 86_400 + (hour * 3_600).astype(int),
            "amount_cents": (column("cents") * rng.lognormal(0, column("spread"))).astype(int),
            "balance_cents": (column("balance") * rng.lognormal(0, 0.7, rows)).astype(int),
            "hour": np.round(hour, 2),
            "attempts": 1 + rng.poisson(column("attempts") - 1.0),
            "device_age_days": pa.array(np.round(device, 1), mask=no_device),
            "merchant": _with_missing(pick("merchants"), 0.02, rng),
            "country": _with_missing(pick("countries"), 0.04, rng),
            "channel": channels,
            "card_present": [channel == "till" for channel in channels],
            "newsletter": pa.array(rng.random(rows) < 0.3, mask=rng.random(rows) < 0.1),
            "currency": ["EUR"] * rows,
            "customer_since": since.astype("datetime64[D]").astype(str),
        }
    ), truth


def main(folder: Path) -> None:
    """Write payments_train.parquet and payments_held_out.parquet."""
    rng = np.random.default_rng(7)
    records, truth = make(TRAIN, rng)
    known = np.zeros(TRAIN, bool)
    for value, count in ((1, LABELLED_FRAUDS), (0, LABELLED_NORMALS)):
        known[rng.choice(np.flatnonzero(truth == value), count, replace=False)] = True
    records = records.append_column("label", pa.array(truth, pa.int8(), mask=~known))
    pq.write_table(records, folder / "payments_train.parquet", compression="zstd")
    records, truth = make(HELD_OUT, rng)
    records = records.append_column("label", pa.array(truth, pa.int8()))
    pq.write_table(records, folder / "payments_held_out.parquet", compression="zstd")


def _with_missing(values: list[str], share: float, rng: np.random.Generator) -> pa.Array:
    return pa.array(values, pa.string(), mask=rng.random(len(values)) < share)


if __name__ == "__main__":
    main(Path(__file__).parent)
