"""Signatures after Standard Webhooks: HMAC-SHA256 over id, time and body, by a secret `whsec_...`.

Ours: it is a dozen lines of the standard library, and the package would be a dependency of every service;
in tests that package is the receiver.
"""

import base64
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"


def new_secret() -> str:
    """256 random bits."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def headers(message_id: str, seconds: int, body: bytes, by: Sequence[str]) -> dict[str, str]:
    """The three headers, with a signature by each secret; `seconds` is the time of this attempt."""
    signed = f"{message_id}.{seconds}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in by),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
