"""The chat page and HTTP callers: answers as server-sent events, or whole."""
