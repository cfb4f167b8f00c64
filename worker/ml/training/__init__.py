"""Training: the trainer, its compiled steps, and what ends or rolls back a training."""
