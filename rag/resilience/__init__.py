"""How long an answer may take."""
