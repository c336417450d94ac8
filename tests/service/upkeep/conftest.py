"""Commands beside a service, on both databases."""

from tests.service.both_databases import client as client
from tests.service.commands import nearnorm as nearnorm
