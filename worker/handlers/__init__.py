"""What each kind of job does, between the queue and `worker.ml`."""
