"""Kafka's clients, made by the settings: addresses, encryption, who we are."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed

from nearnorm.models.errors import ConfigError, NearnormError
from nearnorm.service.settings import Settings

BATCH_BYTES = 2**19
"""Largest batch of answers; what is larger goes alone."""
FETCH_WAIT_MS = 50
"""How long a broker may keep a fetch that has nothing to bring. The client asks a broker one thing at a time:
while it waits for a partition without news, nothing new comes of the others. (Its own default is 500.)"""


KNOCK_SECONDS = 15.0
_OTHER_NAME = (62, 64)
"""OpenSSL's numbers for a certificate of another host or address."""


class Clients:
    """For brokers at `addresses`, HOST:PORT with commas between them."""

    def __init__(self, settings: Settings, addresses: str) -> None:
        """Raises ConfigError for addresses that are none, certificates that cannot be read, and settings that
        do not go together."""
        _refuse_unused(settings)
        try:
            self._hosts = collect_hosts(addresses)
        except ValueError:
            raise ConfigError(f"brokers {addresses!r}: give HOST:PORT, with commas between them") from None
        self._addresses = addresses
        self._session_ms = round(settings.kafka_session_seconds * 1000)
        self._connection: dict[str, Any] = {
            "client_id": "nearnorm",
            "security_protocol": settings.kafka_security,
        }
        if settings.kafka_security in ("SSL", "SASL_SSL"):
            self._connection["ssl_context"] = _encryption(settings)
        if settings.kafka_security.startswith("SASL"):
            password = settings.kafka_password
            self._connection |= {
                "sasl_mechanism": settings.kafka_mechanism,
                "sasl_plain_username": settings.kafka_user,
                "sasl_plain_password": password.get_secret_value() if password else None,
            }

    async def knock(self) -> None:
        """Raise NearnormError where none of the addresses lets us in, with what to set."""
        problems = []
        for host, port, _ in self._hosts:
            try:
                connecting = create_conn(host, port, **self._connection)
                (await asyncio.wait_for(connecting, KNOCK_SECONDS)).close()
            # aiokafka's SCRAM takes a broker's "no" for a strange message
            except (KafkaError, OSError, TimeoutError, KeyError, ValueError) as error:
                problems.append(self._problem(f"{host}:{port}", error))
            else:
                return
        raise problems[0]

    def _problem(self, address: str, error: Exception) -> NearnormError:
        if isinstance(error, ssl.SSLCertVerificationError):
            mend = (
                "name the brokers as their certificates do"
                if error.verify_code in _OTHER_NAME
                else "NEARNORM_KAFKA_CA is to be a file with the authority that signed it"
            )
            return NearnormError(
                f"the certificate of {address} is not trusted ({error.verify_message}): {mend}"
            )
        mechanism = self._connection.get("sasl_mechanism")
        if mechanism and isinstance(error, (SaslAuthenticationFailed, KeyError, ValueError)):
            return NearnormError(
                f"{address} does not take NEARNORM_KAFKA_USER with NEARNORM_KAFKA_PASSWORD by {mechanism}"
            )
        how = f"NEARNORM_KAFKA_SECURITY is {self._connection['security_protocol']}"
        if mechanism:
            how += f", NEARNORM_KAFKA_MECHANISM {mechanism}"
        return NearnormError(f"no broker answers at {address}: {str(error) or type(error).__name__} ({how})")

    def consumer(self, *topics: str, group: str | None, instance: str | None = None) -> AIOKafkaConsumer:
        """Of records that are committed, from the oldest on where the group has no place yet. An `instance`
        that comes again takes up its old membership."""
        return AIOKafkaConsumer(
            *topics,
            bootstrap_servers=self._addresses,
            **self._connection,
            group_id=group,
            group_instance_id=instance,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=self._session_ms,
            heartbeat_interval_ms=self._session_ms // 3,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )

    def producer(self, transactional_id: str | None = None) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            bootstrap_servers=self._addresses,
            **self._connection,
            acks="all",
            max_batch_size=BATCH_BYTES,
            transactional_id=transactional_id,
        )

    def admin(self) -> AIOKafkaAdminClient:
        return AIOKafkaAdminClient(bootstrap_servers=self._addresses, **self._connection)


def _refuse_unused(settings: Settings) -> None:
    """A password that is given and not asked for may have been meant to be: nothing is sent in the clear."""
    security = settings.kafka_security
    of_tls = {"ca": settings.kafka_ca, "certificate": settings.kafka_certificate, "key": settings.kafka_key}
    of_sasl = {"user": settings.kafka_user, "password": settings.kafka_password}
    for needed, given in (("SSL", of_tls), ("SASL", of_sasl)):
        if needed in security.split("_"):
            continue
        for name in (name for name, value in given.items() if value is not None):
            raise ConfigError(
                f"NEARNORM_KAFKA_{name.upper()} has no use where NEARNORM_KAFKA_SECURITY is {security}: set "
                f"{'SSL or SASL_SSL' if needed == 'SSL' else 'SASL_SSL'}, or leave it out"
            )
    if settings.kafka_key is not None and settings.kafka_certificate is None:
        raise ConfigError("NEARNORM_KAFKA_KEY is set without NEARNORM_KAFKA_CERTIFICATE, whose key it is")
    if "SASL" in security and None in of_sasl.values():
        raise ConfigError(
            f"NEARNORM_KAFKA_SECURITY is {security}: set NEARNORM_KAFKA_USER and NEARNORM_KAFKA_PASSWORD"
        )


def _encryption(settings: Settings) -> ssl.SSLContext:
    ca, certificate, key = settings.kafka_ca, settings.kafka_certificate, settings.kafka_key
    with _reading("NEARNORM_KAFKA_CA", ca):
        context = ssl.create_default_context(cafile=ca)
    if certificate is not None:
        with _reading("NEARNORM_KAFKA_KEY", key):  # a file that is not there has no name in OpenSSL's words
            if key is not None:
                key.read_bytes()
        with _reading("NEARNORM_KAFKA_CERTIFICATE", certificate):
            context.load_cert_chain(certificate, key, lambda: "")  # no prompt for one that is encrypted
    return context


@contextmanager
def _reading(setting: str, file: Path | None) -> Iterator[None]:
    try:
        yield
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{setting}={file} cannot be read: {error.strerror or error}") from None
