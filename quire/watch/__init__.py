"""Live views of a job in a terminal: progress, loss curves, texts and events."""
