"""The terminal: answers as they come, on standard output."""
