"""Webhooks: what happens is told to other systems, by an outbox, signed, to addresses that were checked."""
