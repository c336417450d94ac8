"""The shapes of a message's body: Standard Webhooks, Slack's, PagerDuty's events, OCSF's findings."""
