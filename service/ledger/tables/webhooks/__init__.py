"""Webhooks: who is told of what, and the outbox of what they are still to be told."""
