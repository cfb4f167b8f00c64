"""Following a job in a terminal: curves, texts and events as they come."""
