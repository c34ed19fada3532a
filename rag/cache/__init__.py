"""Answers that are ready before the question is asked."""
