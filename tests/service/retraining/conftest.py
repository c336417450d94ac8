"""Every test here that asks for `client` or `ledger` runs on SQLite and on a real PostgreSQL."""

from tests.service.both_databases import client as client
from tests.service.commands import nearnorm as nearnorm
