"""Commands about corpora, models, checkpoints and generated texts."""
