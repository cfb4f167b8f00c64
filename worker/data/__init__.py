"""Rows and bytes that jobs read and write: corpora, checkpoints, loaded models."""
