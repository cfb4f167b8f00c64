"""Corpora and models: stored, shared, deleted, exported and imported."""
