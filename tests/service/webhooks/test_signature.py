"""Signatures hold for the package of Standard Webhooks, and for nothing that was changed."""

import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from nearnorm.service.webhooks.signature import headers, new_secret

BODY = b'{"type":"alert.raised","data":{"caf\xc3\xa9":1}}'


def test_the_standards_own_package_takes_what_is_signed() -> None:
    secret = new_secret()
    signed = headers("msg_1", int(time.time()), BODY, [secret])
    assert Webhook(secret).verify(BODY.decode(), signed) == {"type": "alert.raised", "data": {"caf\u00e9": 1}}


def test_what_was_changed_or_is_of_another_secret_or_old_is_refused() -> None:
    secret, now = new_secret(), int(time.time())
    good = headers("msg_1", now, BODY, [secret])
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY.decode() + " ", good)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY.decode(), good | {"webhook-id": "msg_2"})
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY.decode(), good)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY.decode(), headers("msg_1", now - 3_600, BODY, [secret]))


def test_two_secrets_sign_while_a_receiver_changes_over() -> None:
    old, new = new_secret(), new_secret()
    signed = headers("msg_1", int(time.time()), BODY, [new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(BODY.decode(), signed)
