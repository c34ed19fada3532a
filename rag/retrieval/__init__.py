"""From a question to ranked passages, without a language model."""
