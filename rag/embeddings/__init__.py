"""Texts to unit vectors: offline (`minilm`), over an OpenAI-compatible endpoint, or with fastembed."""
