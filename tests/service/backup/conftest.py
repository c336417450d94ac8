"""Commands on both databases, an S3 API, and PostgreSQL's own programs."""

import os

import pytest

from tests.models.store.s3_server import endpoint as endpoint
from tests.models.store.s3_server import s3 as s3
from tests.service.commands import nearnorm as nearnorm
from tests.service.ledger.servers import programs_of_postgresql


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_dump and pg_restore of the server's release, first on the PATH."""
    monkeypatch.setenv("PATH", f"{programs_of_postgresql()}{os.pathsep}{os.environ['PATH']}")
