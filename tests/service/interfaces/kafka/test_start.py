"""What a streamer cannot start with is told in one line."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nearnorm.models.errors import ConfigError
from nearnorm.service.interfaces.kafka.options import options_of
from tests.ports import free_port
from tests.service.interfaces.kafka.brokers import make_topics, tansu

NEARNORM = Path(sys.executable).parent / "nearnorm"
TOLD: dict[str, str | None] = {
    "brokers": "b:9092",
    "records": "in",
    "answers": "out",
    "verdicts": None,
    "dead_letters": None,
    "delivery": "auto",
}


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    with tansu() as address:
        make_topics(address, "records", "answers")
        yield address


def refusal(home: Path, *options: str, port: str = "0") -> str:
    """Its last line; all of it where the command line itself is what does not fit."""
    done = subprocess.run(
        [NEARNORM, "stream", *options, "--port", port],
        env={"NEARNORM_HOME": str(home), "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1] if "Usage" not in done.stderr else done.stderr


def test_a_topic_that_is_not_there_is_named(tmp_path: Path, brokers: str) -> None:
    said = refusal(tmp_path, "--brokers", brokers, "--in", "records", "--out", "nowhere")
    assert said == "nearnorm: the brokers have no topic 'nowhere': create it"


def test_exactly_once_is_refused_where_the_brokers_have_no_transactions(tmp_path: Path, brokers: str) -> None:
    topics = ("--in", "records", "--out", "answers")
    said = refusal(tmp_path, "--brokers", brokers, *topics, "--delivery", "exactly-once")
    assert said.startswith("nearnorm: the brokers have no transactions, so nothing is exactly once")


def test_brokers_that_do_not_answer_are_named(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    said = refusal(tmp_path, "--brokers", address, "--in", "records", "--out", "answers")
    assert said.startswith(f"nearnorm: no broker answers at {address}")


def test_a_port_that_no_machine_has_is_named(tmp_path: Path) -> None:
    topics = ("--brokers", f"127.0.0.1:{free_port()}", "--in", "records", "--out", "answers")
    assert "--port" in refusal(tmp_path, *topics, port="99999")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"answers": "in"}, "named twice"),
        ({"verdicts": "a topic"}, "is no topic"),
        ({"delivery": "perhaps"}, "--delivery perhaps"),
        ({"group": ""}, "--group is empty"),
        ({"brokers": " "}, "--brokers is empty"),
    ],
)
def test_options_that_do_not_fit_are_named(changed: dict[str, str | None], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        options_of(TOLD | changed)
