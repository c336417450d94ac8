"""Settings as Kafka's client takes them, and a handshake with what asks for a certificate of ours."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from pydantic import SecretStr

from nearnorm.models.errors import ConfigError
from nearnorm.service.interfaces.kafka.clients import FETCH_WAIT_MS, Clients
from nearnorm.service.settings import Settings
from tests.ports import free_port
from tests.service.interfaces.kafka.certificates import Certificates, certificates


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


def consumer_of(settings: Settings) -> AIOKafkaConsumer:
    async def making() -> AIOKafkaConsumer:
        consumer = Clients(settings, "b:9093").consumer("records", group="g", instance="one")
        await consumer.stop()
        return consumer

    return asyncio.run(making())


def test_a_name_and_a_password_reach_the_client_over_tls(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        kafka_security="SASL_SSL",
        kafka_mechanism="SCRAM-SHA-512",
        kafka_user="mei",
        kafka_password=SecretStr("secret"),
    )
    client = consumer_of(settings)._client
    told = (client._sasl_mechanism, client._sasl_plain_username, client._sasl_plain_password)
    assert (client._security_protocol, *told) == ("SASL_SSL", "SCRAM-SHA-512", "mei", "secret")
    assert client._ssl_context.verify_mode is ssl.CERT_REQUIRED
    assert client._ssl_context.check_hostname


def test_without_security_there_is_neither(tmp_path: Path) -> None:
    client = consumer_of(Settings(home=tmp_path))._client
    assert (client._security_protocol, client._ssl_context) == ("PLAINTEXT", None)


def test_a_fetch_without_news_holds_others_up_for_a_moment_alone(tmp_path: Path) -> None:
    assert consumer_of(Settings(home=tmp_path))._fetch_max_wait_ms == FETCH_WAIT_MS <= 50


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kafka_ca": "none.pem"}, "NEARNORM_KAFKA_CA=.*none.pem cannot be read: No such file"),
        ({"kafka_ca": "text"}, "NEARNORM_KAFKA_CA=.*text cannot be read: .*NO_CERTIFICATE"),
        (
            {"kafka_certificate": "none.pem"},
            "KAFKA_CERTIFICATE=.*none.pem cannot be read: No such file",
        ),
        (
            {"kafka_certificate": "text", "kafka_key": "none.pem"},
            "KAFKA_KEY=.*none.pem cannot be read: No such file",
        ),
    ],
)
def test_certificates_that_cannot_be_read_are_refused_by_name_at_the_start(
    tmp_path: Path, given: dict[str, str], said: str
) -> None:
    (tmp_path / "text").write_text("no certificate")
    files: dict[str, Any] = {name: tmp_path / file for name, file in given.items()}
    settings = Settings(home=tmp_path, kafka_security="SSL", **files)
    with pytest.raises(ConfigError, match=said):
        Clients(settings, "b:9093")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"kafka_user": "mei"}, "NEARNORM_KAFKA_USER has no use where NEARNORM_KAFKA_SECURITY is PLAINTEXT"),
        ({"kafka_security": "SSL", "kafka_password": SecretStr("secret")}, "KAFKA_PASSWORD has no use"),
        ({"kafka_ca": Path("ca.pem")}, "NEARNORM_KAFKA_CA has no use .* set SSL or SASL_SSL"),
        ({"kafka_security": "SSL", "kafka_key": Path("key.pem")}, "without NEARNORM_KAFKA_CERTIFICATE"),
        ({"kafka_security": "SASL_SSL", "kafka_user": "mei"}, "USER and NEARNORM_KAFKA_PASSWORD"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    tmp_path: Path, changed: dict[str, object], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        Clients(Settings(home=tmp_path).model_copy(update=changed), "b:9093")


def test_brokers_that_are_no_addresses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"brokers 'b:kafka': give HOST:PORT"):
        Clients(Settings(home=tmp_path), "b:kafka")


@pytest.mark.parametrize("is_known", [True, False])
def test_only_a_broker_whose_certificate_is_known_is_spoken_to_and_it_sees_ours(
    tmp_path: Path, issued: Certificates, is_known: bool
) -> None:
    """The other end is a listener that asks for a certificate, and takes the first bytes of the protocol."""
    settings = Settings(
        home=tmp_path,
        kafka_security="SSL",
        kafka_ca=issued.authority if is_known else None,
        kafka_certificate=issued.client,
        kafka_key=issued.client_key,
    )

    async def handshake() -> list[tuple[object, bytes]]:
        seen: list[tuple[object, bytes]] = []

        async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = writer.get_extra_info("peercert")
            seen.append((peer["subject"][0][0][1], (await reader.readexactly(8))[4:6]))
            writer.close()

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(issued.authority))
        context.load_cert_chain(issued.server, issued.server_key)
        context.verify_mode = ssl.CERT_REQUIRED
        port = free_port()
        async with await asyncio.start_server(visit, "127.0.0.1", port, ssl=context):
            client = Clients(settings, f"127.0.0.1:{port}").admin()
            with pytest.raises(Exception, match="bootstrap"):
                await asyncio.wait_for(client.start(), 10)
            await client.close()
        return seen

    seen = asyncio.run(handshake())
    if is_known:
        assert seen[0][0] == "streamer"
        assert seen[0][1] in (b"\x00\x12", b"\x00\x03")  # ApiVersions, Metadata
    else:
        assert seen == []
