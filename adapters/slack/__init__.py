"""Slack: events become `Inbound`, answers grow in one message by `chat.update`."""
