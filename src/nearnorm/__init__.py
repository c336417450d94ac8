"""Nearnorm: online anomaly scoring that learns several prototypes of normal from a handful of labels."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nearnorm.client import AsyncClient as AsyncClient
    from nearnorm.client import Client as Client
    from nearnorm.detector.estimator import NearnormDetector as NearnormDetector

__version__ = "0.1.0"

_LATE = {
    "AsyncClient": ("nearnorm.client", "client"),
    "Client": ("nearnorm.client", "client"),
    "NearnormDetector": ("nearnorm.detector.estimator", "cpu,training"),
}
"""What users call, where it is, and the extras that it needs: imported when it is asked for, so that
`import nearnorm` stays cheap."""


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module 'nearnorm' has no attribute {name!r}")
    module, extras = _LATE[name]
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"nearnorm.{name} needs the module {error.name}, which is not installed: "
            f"pip install 'nearnorm[{extras}]'"
        ) from error


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATE])
