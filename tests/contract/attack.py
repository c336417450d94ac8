"""Schemathesis over the whole document, links included, against a running service with an API key.

python -m tests.contract.attack --examples 200 --database postgresql
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from nearnorm.models.store.folder import ModelStore
from nearnorm.service.access import keyring
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.settings import Settings
from tests.service.bundles import make_bundle
from tests.service.ledger.servers import running_postgres
from tests.service.running import home_with, serving

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")


@contextmanager
def guarded_service(home: Path, database_url: str | None = None) -> Iterator[tuple[httpx.Client, str]]:
    """A service that keeps every row, with two models and a key of every role: its client and the secret."""
    home_with(home, make_bundle(home / "bundle"))
    ModelStore(home / "models").publish(make_bundle(home / "other", seed=1).path)
    ledger = Ledger.at(database_url, home)
    migrate(ledger)
    with ledger.write() as connection:
        secret, _ = keyring.create(connection, "attacker", keyring.ROLES, "test")
    ledger.close()
    settings = Settings(home=home, database_url=database_url, audit_rate=1.0, max_body_bytes=4_000_000)
    with serving(create_app(settings)) as client:
        client.headers["X-API-Key"] = secret
        yield client, secret


def attack(client: httpx.Client, secret: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One run of schemathesis; its output tells each failure with the request to repeat it."""
    client.get("/openapi.json", timeout=120)  # it is made once, and schemathesis waits ten seconds alone
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("--config-file", str(CONFIG), "--no-color", "run", f"{client.base_url}/openapi.json"),
        *("--header", f"X-API-Key: {secret}", "--warnings", "off", *arguments),
    ]
    known = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.contract.serializers", "PYTHONPATH": known}
    with tempfile.TemporaryDirectory() as scratch:  # it leaves notes where it runs
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=scratch, env=environment
        )


def server_errors(client: httpx.Client) -> list[str]:
    """What the service itself counted, by route and status."""
    lines = client.get("/metrics").text.splitlines()
    return [line for line in lines if line.startswith("nearnorm_requests_total") and 'status="5' in line]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="requests of each kind an operation")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(running_postgres()) if asked.database == "postgresql" else None
        client, secret = stack.enter_context(guarded_service(home, url))
        run = attack(client, secret, "--max-examples", str(asked.examples))
        errors = server_errors(client)
    print(run.stdout)
    print(f"{asked.database}: server errors by the service's own count: {errors or 'none'}")
    sys.exit(run.returncode or bool(errors))


if __name__ == "__main__":
    main()
