"""Commands that run a server, or show what runs on it."""
