"""The story, from a bank's history to a model that has learnt from its fraud desk and its customers."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from examples.payments.history import Week, weeks
from examples.rounds import FIRST, FOREST, SERVED, Round, compared, isolation_forest
from examples.service import key, nearnorm, retrained, scores_of, serve_model, serving
from nearnorm import Client

SCHEMA = Path(__file__).with_name("schema.toml")
HISTORY = 4  # weeks
WALLETS = 2  # thieves begin to use lost wallets in the third week of the service
THEFTS = 1 / 50  # a card and week: many more than banks see, so that few weeks tell something
KNOWN = 12  # stolen payments that somebody has told of before
CLAIMED = 0.9  # of stolen payments customers tell of, by the end of the week after
BUDGET = "1% of normal"


@dataclass(frozen=True)
class People:
    """Who calls the service, each with a key of their own."""

    bank: Client
    desk: Client
    claims: Client
    operator: Client


def tell(folder: Path, cards: int, live: int, seed: int, config: Path | None = None) -> list[Round]:
    """`live` weeks of `cards` cards after a history of four. Files and the service's state lie in `folder`.

    `config`: as for `nearnorm train`."""
    folder.mkdir(parents=True, exist_ok=True)
    home = folder / "home"
    calendar = weeks(HISTORY + live, cards, cards * THEFTS, HISTORY + WALLETS, seed)
    chance = np.random.default_rng(seed)
    claims = [[fraud is not None and chance.random() < CLAIMED for fraud in week.fraud] for week in calendar]

    past = write_history(calendar[:HISTORY], folder / "history.csv", chance)
    print(nearnorm(home, "inspect", folder / "history.csv", "--write", folder / "schema.toml"))
    print("Card and merchant are for people, not for the model: examples/payments/schema.toml. Training ...")
    words: list[str | Path] = [
        "--schema",
        SCHEMA,
        "--out",
        folder / "model",
        "--progress",
        "off",
        "--seed",
        str(seed),
    ]
    words += ["--config", config] if config else []
    nearnorm(home, "train", folder / "history.csv", *words)
    serve_model(home, folder / "model")

    roles = {"bank": ["score"], "desk": ["feedback"], "claims": ["feedback"], "ops": ["operate"]}
    secrets = [key(home, name, *given) for name, given in roles.items()]
    rounds = []
    with serving(home) as url, ExitStack() as opened:
        people = People(*(opened.enter_context(Client(url, api_key=secret)) for secret in secrets))
        people.operator.set_policy(BUDGET)
        for number in range(HISTORY, HISTORY + live):
            week, told = calendar[number], calendar[number - 1]
            scored = people.bank.score(week.records)
            fraud = np.array([kind is not None for kind in week.fraud])
            alerts = np.array(scored.columns["anomaly"])
            review(people.desk, scored.columns["event_id"], alerts, fraud)
            report(people, told, claims[number - 1])
            retraining = retrained(people.operator)
            rows = pd.DataFrame(week.records)
            scores = {
                SERVED: np.array(scored.columns["score"]),
                FIRST: scores_of(home, folder / "model", rows),
                FOREST: isolation_forest(past, numbers(rows), seed),
            }
            rounds.append(compared(f"week {number - HISTORY + 1}", fraud, alerts, scores, retraining))
            print(rounds[-1], f"       {by_kind(week, alerts)}; then {retraining}", sep="\n", flush=True)
        print(learnt(people.claims))
    return rounds


def write_history(past: Sequence[Week], out: Path, chance: np.random.Generator) -> pd.DataFrame:
    """The file that is trained on; of what was stolen in it `KNOWN` are labelled, none of the last week.
    What a baseline may see of it."""
    frame = pd.DataFrame([record for week in past for record in week.records])
    stolen = np.flatnonzero([kind is not None for week in past[:-1] for kind in week.fraud])
    frame["label"] = ""
    frame.loc[chance.permutation(stolen)[:KNOWN], "label"] = "1"
    frame.to_csv(out, index=False)
    return numbers(frame.drop(columns="label"))


def numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """What the isolation forest sees of payments: as much as the model, times as numbers."""
    booked, opened = (pd.to_datetime(rows[name]) for name in ("booked_at", "card_opened"))
    seen = rows.drop(columns=["payment", "card", "merchant", "booked_at", "card_opened"])
    return seen.assign(
        hour=booked.dt.hour, weekday=booked.dt.day_of_week, card_days=(booked - opened).dt.days
    )


def review(desk: Client, event_ids: Sequence[Any], alerts: np.ndarray, fraud: np.ndarray) -> None:
    """The fraud desk looks at every alert of the week, and is always right."""
    words = {True: "anomaly", False: "normal"}
    items: list[Any] = [
        {"event_id": event_ids[row], "label": words[bool(fraud[row])]}
        for row in np.flatnonzero(alerts).tolist()
    ]
    for start in range(0, len(items), 1_000):
        desk.label(items[start : start + 1_000], analyst="mei")


def report(people: People, week: Week, claimed: Sequence[bool]) -> None:
    """Customers say which payments of the week before were not theirs, whether an alert was raised or not.
    The desk looks into every claim and says so too: what one key alone says is no yardstick for a model."""
    items: list[Any] = [
        {"record": record, "label": "anomaly"}
        for record, claim in zip(week.records, claimed, strict=True)
        if claim
    ]
    for start in range(0, len(items), 1_000):
        people.claims.label(items[start : start + 1_000], analyst="customers")
        people.desk.label(items[start : start + 1_000], analyst="mei")


def learnt(claims: Client) -> str:
    """What receipts tell of the claims that no alert had been raised for."""
    missed = [found for found in claims.receipts() if found.get("anomaly_before") is False]
    held_out = [found["anomaly_held_out"] for found in missed if "anomaly_held_out" in found]
    return (
        f"Of {len(missed)} claims on which the model in service raised no alert, {len(held_out)} were ranked "
        f"by a fit that learnt the others and not them: it alerts on {sum(held_out)}."
    )


def by_kind(week: Week, alerts: np.ndarray) -> str:
    """How many of each kind of fraud alerted."""
    kinds = np.array([kind or "" for kind in week.fraud])
    return ", ".join(
        f"{kind}: {int(alerts[kinds == kind].sum())} of {int((kinds == kind).sum())}"
        for kind in sorted(set(kinds) - {""})
    )
