"""The shapes of a message's body: Standard Webhooks, Slack's incoming webhooks, PagerDuty's events."""
