"""A short attack on every route by its own description; `make fuzz` has the long one."""

from pathlib import Path

from tests.contract.attack import attack, guarded_service, server_errors


def test_every_route_keeps_to_its_description_whatever_is_sent(tmp_path: Path) -> None:
    with guarded_service(tmp_path) as (client, secret):
        phases = ("--phases", "examples,fuzzing,stateful", "--max-examples", "3", "--no-shrink")
        run = attack(client, secret, *phases, "--generation-deterministic", "--output-truncate", "true")
        assert run.returncode == 0, run.stdout
        assert server_errors(client) == []
