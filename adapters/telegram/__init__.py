"""Telegram: updates become `Inbound`, answers grow in one message by edits within the platform's limits."""
