"""What jobs read: corpora, checkpoints and loaded models."""
