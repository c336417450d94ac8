"""A streamer and a real broker behind TLS, and one that asks who comes: in, or why not, in one line."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.interfaces.kafka.options import StreamOptions
from nearnorm.service.settings import Settings
from tests.ports import free_port
from tests.service.asking import RECORD
from tests.service.interfaces.kafka.brokers import Reader, make_topics, send, tansu
from tests.service.interfaces.kafka.certificates import Certificates, certificates
from tests.service.interfaces.kafka.streaming import streaming
from tests.service.interfaces.kafka.tls_end import tls_end
from tests.service.running import home_with

NEARNORM = Path(sys.executable).parent / "nearnorm"


class Secured(NamedTuple):
    brokers: str
    issued: Certificates


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    issued, port = certificates(tmp_path_factory.mktemp("certificates")), free_port()
    address = f"127.0.0.1:{port}"
    with tansu(advertised=address) as behind, tls_end(port, behind, issued):
        make_topics(address, "records", "answers", ca=issued.authority)
        yield Secured(address, issued)


@pytest.fixture(scope="module")
def asking() -> Iterator[str]:
    with tansu(asks_who=True) as address:
        yield address


def refusal(home: Path, brokers: str, **kafka: str | Path) -> str:
    """The last line of a streamer that cannot start, of settings NEARNORM_KAFKA_..."""
    told = {f"NEARNORM_KAFKA_{name.upper()}": str(value) for name, value in kafka.items()}
    done = subprocess.run(
        [NEARNORM, "stream", "--brokers", brokers, "--in", "records", "--out", "answers", "--port", "0"],
        env={**os.environ, "NEARNORM_HOME": str(home), **told},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "secret" not in done.stdout + done.stderr
    return done.stderr.splitlines()[-1]


def test_records_are_answered_over_tls(secured: Secured, tmp_path: Path, bundle: Bundle) -> None:
    ca = secured.issued.authority
    settings = Settings(home=home_with(tmp_path, bundle), kafka_security="SSL", kafka_ca=ca)
    with streaming(settings, StreamOptions(secured.brokers, "records", "answers")):
        send(secured.brokers, "records", [json.dumps(RECORD).encode()] * 3, ca=ca)
        reader = Reader(secured.brokers, "answers", ca=ca)
        answers = [json.loads(message.value() or b"") for message in reader.read(3)]
        reader.close()
    assert [answer["event_id"] for answer in answers] == [f"records:0:{i}" for i in range(3)]


def test_a_broker_whose_authority_is_not_known_is_told_with_the_setting(
    secured: Secured, tmp_path: Path
) -> None:
    own = certificates(tmp_path)
    said = refusal(tmp_path / "home", secured.brokers, security="SSL", ca=own.authority)
    assert said.startswith(f"nearnorm: the certificate of {secured.brokers} is not trusted (")
    assert said.endswith("NEARNORM_KAFKA_CA is to be a file with the authority that signed it")


def test_a_broker_under_another_name_than_its_certificate_s_is_told(secured: Secured, tmp_path: Path) -> None:
    other = secured.brokers.replace("127.0.0.1", "localhost")
    said = refusal(tmp_path, other, security="SSL", ca=secured.issued.authority)
    assert said.startswith(f"nearnorm: the certificate of {other} is not trusted (Hostname mismatch")
    assert said.endswith("name the brokers as their certificates do")


def test_where_only_the_broker_speaks_tls_the_setting_is_told(secured: Secured, tmp_path: Path) -> None:
    said = refusal(tmp_path, secured.brokers)
    assert said.startswith(f"nearnorm: no broker answers at {secured.brokers}: ")
    assert said.endswith("(NEARNORM_KAFKA_SECURITY is PLAINTEXT)")


def test_a_name_and_a_password_that_a_broker_does_not_take_are_told(asking: str, tmp_path: Path) -> None:
    who = {"security": "SASL_PLAINTEXT", "user": "mei", "password": "secret"}
    assert refusal(tmp_path, asking, **who) == (
        f"nearnorm: {asking} does not take NEARNORM_KAFKA_USER with NEARNORM_KAFKA_PASSWORD by SCRAM-SHA-512"
    )


def test_a_mechanism_that_a_broker_does_not_have_is_named(asking: str, tmp_path: Path) -> None:
    who = {"security": "SASL_PLAINTEXT", "user": "mei", "password": "secret", "mechanism": "PLAIN"}
    said = refusal(tmp_path, asking, **who)
    assert said.endswith("(NEARNORM_KAFKA_SECURITY is SASL_PLAINTEXT, NEARNORM_KAFKA_MECHANISM PLAIN)")
