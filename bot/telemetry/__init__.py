"""Where the time goes: the canonical log line, the log itself, and the report made from it."""
