"""What the routes do besides HTTP: check, submit, resolve, and stream events."""
