"""The metrics of several processes on one port, added up as one service's.

Whichever process is scraped asks the others over sockets in a folder that only this service can enter.
What each answered is kept there too: what a process counted still counts when it has died, and no sum
falls.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import NamedTuple

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from nearnorm.service.metrics.busiest import OTHER
from nearnorm.service.metrics.shared_lines import SharedLines

PATIENCE = 2.0  # seconds for a process to send its metrics
_ADDED_GAUGES = {
    "nearnorm_queue_rows",
    "nearnorm_queue_limit_rows",
    "nearnorm_events_waiting",
    "nearnorm_events_waiting_limit",
    "nearnorm_drift_window_rows",
    "nearnorm_models",
    "nearnorm_model_bytes",
    "nearnorm_model_limit_bytes",
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
}
_SHARED_COUNTERS = {"nearnorm_activations", "nearnorm_webhook_dropped"}  # of the store's log and the ledger,
# which all of them read
_WINDOW = "nearnorm_drift_window_rows"
_OF_WINDOW = {
    "nearnorm_feature_missing_ratio",
    "nearnorm_feature_unknown_ratio",
    "nearnorm_prototype_ratio",
    "nearnorm_far_ratio",
}
_OF_LEDGER = {"nearnorm_alert_budget_ratio", "nearnorm_recall_ratio"}  # followed by each in its own time


class Family(msgspec.Struct, array_like=True):
    """A metric of one process: (name, labels, value) of its samples."""

    name: str
    help: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]]

    @property
    def counts(self) -> bool:
        """Whether it says what happened so far, and not how things are."""
        return self.kind in ("counter", "histogram") and self.name not in _SHARED_COUNTERS


_decode = msgspec.msgpack.Decoder(list[Family]).decode
_encode = msgspec.msgpack.Encoder().encode


def families(registry: CollectorRegistry) -> list[Family]:
    return [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            [(sample.name, dict(sample.labels), sample.value) for sample in metric.samples],
        )
        for metric in registry.collect()
    ]


class MultiprocessMetrics:
    """Process `number` of those that share a folder."""

    def __init__(self, folder: Path, number: int) -> None:
        self.lines = SharedLines(folder, number)
        self._folder = folder
        self._path = folder / f"{number}.socket"
        self._registry: CollectorRegistry
        self._server: asyncio.Server

    async def open(self, registry: CollectorRegistry) -> None:
        """Answer others from now on; that the socket is there says that this process serves."""
        self._registry = registry
        self._path.unlink(missing_ok=True)  # of the process before this one
        self._server = await asyncio.start_unix_server(self._send, self._path)

    async def close(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server.close()
        await self._server.wait_closed()

    async def summed(self) -> "Summed":
        """The metrics of all of them."""
        others = sorted(path for path in self._folder.glob("*.socket") if path != self._path)
        parts = [part for part in await asyncio.gather(*map(_ask, others)) if part]
        parts.append(self._own())
        return await asyncio.to_thread(self._merged, parts)

    async def _send(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_encode(self._own()))  # a process that dies meanwhile is not understood, and left out
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    def _own(self) -> "ProcessMetrics":
        return ProcessMetrics(os.getpid(), frozenset(self.lines.shown), _encode(families(self._registry)))

    def _merged(self, parts: Sequence["ProcessMetrics"]) -> "Summed":
        alive = {str(part.pid) for part in parts}
        for part in parts:
            fresh = self._folder / f"{part.pid}.fresh"
            fresh.write_bytes(part.families)
            fresh.rename(self._folder / f"{part.pid}.last")
        dead = [path for path in self._folder.glob("*.last") if path.stem not in alive]
        ended = [family for path in dead for family in _decode(path.read_bytes()) if family.counts]
        shown = [part.shown for part in parts if part.shown]  # who has read no log yet counts nothing of any
        lines = frozenset.intersection(*shown) if shown else frozenset[str]()
        return Summed([_decode(part.families) for part in parts], ended, lines)


class ProcessMetrics(msgspec.Struct, array_like=True):
    """What one process tells: the lines that it tells of by their names, and its families, encoded."""

    pid: int
    shown: frozenset[str]
    families: bytes


async def _ask(path: Path) -> ProcessMetrics | None:
    """What a process counted; None where it has just died, or hangs."""
    with contextlib.suppress(OSError, TimeoutError, msgspec.DecodeError):
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_unix_connection(path)
            whole = await reader.read(-1)
            writer.close()
            return msgspec.msgpack.decode(whole, type=ProcessMetrics)
    return None


class _Told(NamedTuple):
    """A sample's value in one process, and the rows that it is about: ratios weigh by them."""

    value: float
    rows: float


class Summed(Collector):
    """Counts are added, shares are averaged, and of what each sees for itself the largest stands.

    Of `lines` each of those that live tells by their names: what one of them counted elsewhere would be
    missing in the sum, which would fall.
    """

    def __init__(self, alive: Iterable[Sequence[Family]], ended: Iterable[Family], lines: Set[str]) -> None:
        self._families: dict[str, Family] = {}
        self._samples: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], list[_Told]]] = {}
        for families in (*alive, list(ended)):
            windows = {
                labels["model"]: value
                for family in families
                if family.name == _WINDOW
                for _, labels, value in family.samples
            }
            for family in families:
                self._families.setdefault(family.name, family)
                samples = self._samples.setdefault(family.name, {})
                for name, labels, value in family.samples:
                    line = labels.get("model", OTHER)
                    if line == OTHER or line in lines:
                        rows = windows.get(line, 0.0)
                        samples.setdefault((name, tuple(labels.items())), []).append(_Told(value, rows))

    def collect(self) -> Iterator[Metric]:
        for name, family in self._families.items():
            metric = Metric(name, family.help, family.kind)
            for (sample, labels), told in self._samples[name].items():
                metric.add_sample(sample, dict(labels), _one(family, told))
            yield metric


def _one(family: Family, told: Sequence[_Told]) -> float:
    values = [value for value, _ in told]
    if family.counts or family.name in _ADDED_GAUGES:
        return sum(values)
    if family.name in _OF_LEDGER:
        return sum(values) / len(values)
    if family.name in _OF_WINDOW and (rows := sum(rows for _, rows in told)):
        return sum(value * rows for value, rows in told) / rows
    return max(values)
