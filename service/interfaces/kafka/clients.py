"""Kafka's clients, made by the settings: addresses, encryption, who we are."""

import ssl
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from nearnorm.models.errors import ConfigError
from nearnorm.service.settings import Settings

BATCH_BYTES = 2**19
"""Largest batch of answers; what is larger goes alone."""
FETCH_WAIT_MS = 50
"""How long a broker may keep a fetch that has nothing to bring. The client asks a broker one thing at a time:
while it waits for a partition without news, nothing new comes of the others. (Its own default is 500.)"""


class Clients:
    """For brokers at `addresses`, HOST:PORT with commas between them."""

    def __init__(self, settings: Settings, addresses: str) -> None:
        """Raises ConfigError for certificates that cannot be read."""
        self._session_ms = round(settings.kafka_session_seconds * 1000)
        self._connection: dict[str, Any] = {
            "bootstrap_servers": addresses,
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

    def consumer(self, *topics: str, group: str | None, instance: str | None = None) -> AIOKafkaConsumer:
        """Of records that are committed, from the oldest on where the group has no place yet. An `instance`
        that comes again takes up its old membership."""
        return AIOKafkaConsumer(
            *topics,
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
            **self._connection, acks="all", max_batch_size=BATCH_BYTES, transactional_id=transactional_id
        )

    def admin(self) -> AIOKafkaAdminClient:
        return AIOKafkaAdminClient(**self._connection)


def _encryption(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ca)
        if settings.kafka_certificate is not None:
            context.load_cert_chain(settings.kafka_certificate, settings.kafka_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the certificates of the Kafka settings cannot be read: {error}") from None
    return context
