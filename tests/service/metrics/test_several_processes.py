"""Several processes as one on /metrics: what is added, averaged, and of which lines it is told by name."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from nearnorm.service.metrics import busiest
from nearnorm.service.metrics.busiest import OTHER
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.metrics.multiprocess_metrics import MultiprocessMetrics


class Process:
    """What counts in a serving process, and what it shares with its siblings."""

    def __init__(self, folder: Path, number: int) -> None:
        self.siblings = MultiprocessMetrics(folder, number)
        self.metrics = Metrics(self.siblings.lines)
        self.metrics.lines.admit(["default", "one", "two"])

    def score(self, line: str, rows: int) -> None:
        self.metrics.line(line).scored += rows
        self.metrics.model(line).rows += rows

    def look(self) -> bool:
        return self.metrics.lines.look(self.metrics.rows(), always="default")


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Process, Process]:
    """Both show two lines by their names: `default` and `one` at first."""
    monkeypatch.setattr(busiest, "MOST_SHOWN", 2)
    first, second = (Process(tmp_path, number) for number in range(2))
    return first, second


@contextmanager
def serving(*processes: Process) -> Iterator[asyncio.Runner]:
    """An event loop in which all of them answer one another."""
    with asyncio.Runner() as runner:
        opened = AsyncExitStack()

        async def open_all() -> None:
            for one in processes:
                await one.siblings.open(one.metrics.registry)
                opened.push_async_callback(one.siblings.close)

        runner.run(open_all())
        try:
            yield runner
        finally:
            runner.run(opened.aclose())


def told(runner: asyncio.Runner, process: Process, name: str) -> dict[str, float]:
    """A metric's samples by line, as a scrape of one process tells them of all."""
    summed = runner.run(process.siblings.summed())
    samples = [sample for family in summed.collect() for sample in family.samples if sample.name == name]
    return {sample.labels["model"]: sample.value for sample in samples}


def test_all_name_the_lines_that_are_busiest_in_all_of_them_together(
    processes: tuple[Process, Process],
) -> None:
    first, second = processes
    with serving(*processes):
        first.score("one", 100)
        first.score("two", 90)
        second.score("two", 90)
        second.look()
        assert first.look()
        assert first.metrics.lines.shown == {"default", "two"}
        assert second.look()
        assert second.metrics.lines.shown == {"default", "two"}
        assert not second.look()


def test_who_starts_later_names_the_same_lines(processes: tuple[Process, Process], tmp_path: Path) -> None:
    first, _ = processes
    with serving(first):
        first.score("two", 90)
        first.look()
        assert Process(tmp_path, 1).metrics.lines.shown == {"default", "two"}


def test_where_the_first_does_not_serve_the_next_chooses(processes: tuple[Process, Process]) -> None:
    _, second = processes
    with serving(second):
        second.score("two", 90)
        assert second.look()
        assert second.metrics.lines.shown == {"default", "two"}


def test_what_was_chosen_leaves_a_new_line_its_place_while_there_is_room(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busiest, "MOST_SHOWN", 3)
    first, second = processes
    with serving(*processes):
        first.look()
        second.metrics.lines.admit(["new"])
        second.look()
        assert second.metrics.lines.shown == {"default", "one", "new"}


def test_no_sum_falls_while_one_process_already_tells_of_a_line_with_the_others(
    processes: tuple[Process, Process],
) -> None:
    first, second = processes
    with serving(*processes) as runner:
        for one in processes:
            one.score("one", 100)
            one.score("two", 300)
        assert told(runner, second, "nearnorm_rows_total") == {"one": 200, OTHER: 600}
        first.look()
        assert first.metrics.lines.shown == {"default", "two"}
        assert told(runner, second, "nearnorm_rows_total") == {OTHER: 600}, (
            "not a part of `one`, nor of `two`"
        )
        second.look()
        for one in processes:
            one.score("two", 5)
        assert told(runner, second, "nearnorm_rows_total") == {"two": 10, OTHER: 600}


def test_a_line_that_a_dead_process_named_is_told_of_once_the_living_name_it(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = processes
    with serving(first) as runner:
        monkeypatch.setattr("os.getpid", lambda: 1)
        first.score("one", 100)
        assert told(runner, first, "nearnorm_rows_total") == {"one": 100}
    monkeypatch.setattr("os.getpid", lambda: 2)
    with serving(second) as runner:
        second.score("one", 10)
        assert told(runner, second, "nearnorm_rows_total") == {"one": 110}
        second.score("two", 900)
        second.look()
        assert told(runner, second, "nearnorm_rows_total") == {OTHER: 900}


class Windows(Collector):
    """Rows that drift is told of, and the share of them without a feature."""

    def __init__(self, rows: Mapping[str, int], missing: Mapping[str, float]) -> None:
        self._rows, self._missing = rows, missing

    def collect(self) -> Iterator[GaugeMetricFamily]:
        rows = GaugeMetricFamily("nearnorm_drift_window_rows", "Rows.", labels=["model"])
        share = GaugeMetricFamily("nearnorm_feature_missing_ratio", "A share.", labels=["model", "feature"])
        for model, count in self._rows.items():
            rows.add_metric([model], count)
            share.add_metric([model, "amount"], self._missing[model])
        yield from (share, rows)


def test_shares_weigh_by_the_rows_that_they_are_of(processes: tuple[Process, Process]) -> None:
    first, second = processes
    first.metrics.registry.register(Windows({"default": 750, "one": 0}, {"default": 0.4, "one": 0.0}))
    second.metrics.registry.register(Windows({"default": 250, "one": 0}, {"default": 0.0, "one": 0.0}))
    with serving(*processes) as runner:
        assert told(runner, first, "nearnorm_feature_missing_ratio") == pytest.approx(
            {"default": 0.3, "one": 0.0}
        )
        assert told(runner, first, "nearnorm_drift_window_rows") == {"default": 1_000, "one": 0}
