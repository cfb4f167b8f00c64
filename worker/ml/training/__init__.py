"""Weights from windows of ids: the trainer, its steps, and when it stops."""
