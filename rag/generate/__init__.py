"""Passages to an answer: the prompt, the language model, the extractive answerer, and the check of what they say."""
