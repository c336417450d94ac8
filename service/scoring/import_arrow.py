"""pyarrow is an extra, and slow to import: what reads and writes Arrow comes with the first stream."""

from importlib import import_module
from typing import Any

from nearnorm.service.errors import UnsupportedMedia


def import_arrow() -> Any:  # noqa: ANN401 - a module
    """`scoring/arrow`. Raises UnsupportedMedia where pyarrow is not installed."""
    try:
        return import_module("nearnorm.service.scoring.arrow")
    except ModuleNotFoundError:
        raise UnsupportedMedia("Arrow is not read here: install the extra arrow") from None
