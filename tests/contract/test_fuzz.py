"""A few of the fuzzed requests, always the same ones; `make fuzz` sends 100,000 new ones."""

from pathlib import Path

from tests.contract.attack import guarded_service, server_errors
from tests.contract.fuzz import Fuzzer


def test_no_fuzzed_body_breaks_a_promise(tmp_path: Path) -> None:
    with guarded_service(tmp_path) as (client, secret):
        fuzzer = Fuzzer(client, secret, seed=8)
        for number in range(800):
            fuzzer.send(number)
        fuzzer.connection.close()
        assert server_errors(client) == []
    assert fuzzer.report.broken == []
    assert {"/score 200", "/score 400", "/score 422", "/feedback 201"} <= fuzzer.report.statuses.keys()
