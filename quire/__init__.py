"""The front door: the `quire` command. Talks HTTP, and starts the other parts as processes."""
