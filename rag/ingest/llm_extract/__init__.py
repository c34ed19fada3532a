"""Entities and relations found by a language model, as further names of sentences: optional, and after everything else.

`prompt` asks, `reply` checks what comes back against the text, `resolve` decides over a whole collection which
spellings are one name, `run` does it all and can be killed at any moment.
"""
