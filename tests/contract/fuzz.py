"""Fuzzed requests against /score and /feedback, over HTTP, until so many are sent.

    python -m tests.contract.fuzz --requests 100000 --database postgresql

Every answer is held to the contract: no server error, one answer for each record, ids as they were sent,
problems in their one shape. What broke it is printed with its seed and number, and sent again by --only.
"""

import argparse
import contextlib
import http.client
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa

from nearnorm.service.errors import PROBLEM, TYPE_PREFIX
from tests.contract.attack import guarded_service, server_errors
from tests.contract.mutate import LINES, Body, as_arrow, as_json, as_lines, hostile, mutated
from tests.service.ledger.servers import running_postgres
from tests.service.scoring.test_endpoint import RECORD

NAMES = (*RECORD, "transaction id")
TOLD_EVERY = 5.0


@dataclass
class Report:
    """`broken`: the number of a request, and which promise its answer broke."""

    seed: int
    statuses: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[int, str]] = field(default_factory=list)

    def __str__(self) -> str:
        counted = ", ".join(f"{count} x {what}" for what, count in sorted(self.statuses.items()))
        return f"seed {self.seed}: {self.statuses.total()} requests, {len(self.broken)} broken; {counted}"


class Fuzzer:
    """Request `number` of a `seed` is always the same, but for the ids of events and labels."""

    def __init__(self, client: httpx.Client, secret: str, seed: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", client.base_url.port or 0, timeout=30)
        self._secret = secret
        self._ids: list[str] = ["01J0000000000000000000000"]
        self.report = Report(seed)

    def send(self, number: int) -> None:
        """One request; what its answer breaks goes into the report."""
        rng = random.Random(f"{self.report.seed}.{number}")  # noqa: S311
        path, (body, headers) = self._request(rng)
        self.send_body(number, path, body, headers)

    def send_body(self, number: int, path: str, body: bytes, headers: dict[str, str]) -> None:
        self.connection.request("POST", path, body, headers | {"X-API-Key": self._secret})
        response = self.connection.getresponse()
        answer = response.read()
        self.report.statuses[f"{path.partition('?')[0]} {response.status}"] += 1
        try:
            self._check(path, body, headers, response, answer)
        except (AssertionError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            told = f"POST {path} {headers} {body[:300]!r}: {response.status} {answer[:300]!r}: {error!r}"
            self.report.broken.append((number, told))

    def _request(self, rng: random.Random) -> tuple[str, Body]:
        kind = rng.random()
        if kind < 0.02:
            return "/score", hostile(rng)
        if kind < 0.4:
            rows = rng.choice((1, 1, 2, 5))
            document: dict[str, Any] = {"records": [RECORD] * rows, "ids": list(range(rows))}
            return "/score", as_json(mutated(document | _options(rng), rng, rng.randrange(5)), rng)
        if kind < 0.6:
            columns = {name: [value] * 3 for name, value in RECORD.items()}
            document = {"columns": columns, "ids": ["a", "b", 3]}
            return "/score", as_json(mutated(document | _options(rng), rng, rng.randrange(5)), rng)
        if kind < 0.68:
            records = mutated([RECORD] * rng.choice((1, 2, 9)), rng, rng.randrange(5))
            return "/score", as_lines(records if isinstance(records, list) else [records], rng)
        if kind < 0.8:
            return rng.choice(("/score", "/score", "/score?model=x", "/score?model=%00&model")), as_arrow(
                NAMES, rng
            )
        labels = [self._label(rng) for _ in range(rng.choice((1, 1, 3)))]
        sent, headers = as_json(mutated({"labels": labels}, rng, rng.randrange(5)), rng)
        if rng.random() < 0.3:
            headers |= {"Idempotency-Key": rng.choice(("k", "x" * 255, "x" * 256, str(rng.random())))}
        return "/feedback", (sent, headers)

    def _label(self, rng: random.Random) -> dict[str, Any]:
        verdict = {"label": rng.choice(("anomaly", "normal")), "analyst": rng.choice(("ann", "bob"))}
        about = rng.randrange(4)
        if about == 0:
            return {**verdict, "record": {**RECORD, "amount": rng.randrange(50)}}
        if about == 1:
            return {**verdict, "record_id": rng.choice((1, "a", "nobody"))}
        if about == 2:
            return {**verdict, "event_id": rng.choice(self._ids)}
        return {"retract": rng.choice(self._ids)}

    def _check(
        self,
        path: str,
        body: bytes,
        headers: dict[str, str],
        response: http.client.HTTPResponse,
        answer: bytes,
    ) -> None:
        content = response.headers["content-type"]
        assert response.status < 500, "a server error"
        if response.status >= 400:
            problem = json.loads(answer)
            assert content == PROBLEM
            assert problem["type"].startswith(TYPE_PREFIX)
            assert problem["status"] == response.status
            assert problem["title"]
            assert problem["detail"]
            return
        if content == LINES[0]:
            results = list(map(json.loads, answer.splitlines()))
            assert all(("score" in result) != ("error" in result) for result in results)
            if "Content-Encoding" not in headers:
                assert len(results) == body.count(b"\n") + (not body.endswith(b"\n")), "not a line for each"
            return
        if content != "application/json":
            table = pa.ipc.open_stream(answer).read_all()
            assert table.num_rows > 0
            assert all(
                (table["score"][i].is_valid) != (table["error"][i].is_valid) for i in range(table.num_rows)
            )
            return
        told = json.loads(answer)
        if path == "/feedback":
            ids = [receipt["feedback_id"] for receipt in told["receipts"]]
            assert ids
            self._ids = [*self._ids[-50:], *ids]
        elif "Content-Encoding" not in headers:
            self._check_scores(json.loads(body, parse_int=_whole), told)

    def _check_scores(self, sent: dict[str, Any], told: dict[str, Any]) -> None:
        results, ids = told["results"], sent.get("ids")
        if isinstance(results, list):
            assert len(results) == len(sent["records"]), "not one answer a record"
            assert all(("score" in result) != ("error" in result) for result in results)
            assert all(_finite(result) for result in results if "score" in result), "a score that is none"
            assert ids is None or [result["id"] for result in results] == ids, "other ids"
            self._ids = [*self._ids[-50:], *(r["event_id"] for r in results if "event_id" in r)]
        else:
            count = len(results["score"])
            assert all(len(sent["columns"][name]) == count for name in RECORD if name in sent["columns"])
            assert ids is None or results["id"] == ids, "other ids"
            failed = {error["index"] for error in told.get("errors", ())}
            assert failed == {i for i, score in enumerate(results["score"]) if score is None}


def _whole(digits: str) -> int | float:
    """An id is exact, whatever its size; Python makes no integer of thousands of digits."""
    return int(digits) if len(digits) < 100 else float(digits)


def _finite(result: dict[str, Any]) -> bool:
    """The small model's distances know no bound, unlike a trained one's; its scores do."""
    return all(isinstance(result[name], float | int) for name in ("score", "percentile"))


def _options(rng: random.Random) -> dict[str, Any]:
    chosen = {"explain": True, "strict": True, "model": "default"}
    return {name: value for name, value in chosen.items() if rng.random() < 0.2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one")
    parser.add_argument("--only", type=int, help="send the request of this number alone")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.randrange(2**32)  # noqa: S311
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(running_postgres()) if asked.database == "postgresql" else None
        client, secret = stack.enter_context(guarded_service(home, url))
        begun = told = time.monotonic()
        fuzzer = Fuzzer(client, secret, seed)
        stack.callback(fuzzer.connection.close)
        for number in range(asked.requests) if asked.only is None else (asked.only,):
            fuzzer.send(number)
            if time.monotonic() - told > TOLD_EVERY:
                told = time.monotonic()
                print(f"{number + 1:,} of {asked.requests:,}, {len(fuzzer.report.broken)} broken", flush=True)
        errors = server_errors(client)
    for number, what in fuzzer.report.broken[:20]:
        print(f"request {number}: {what}")
    print(f"{asked.database}, {time.monotonic() - begun:.0f} s, {fuzzer.report}")
    sys.exit(bool(fuzzer.report.broken or errors))


if __name__ == "__main__":
    main()
