"""Bytes to text, by one set of rules: uploads, prompts, stop strings and texts to score."""
