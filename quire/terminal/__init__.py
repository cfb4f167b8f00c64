"""What reaches a terminal: the consoles, and numbers and times as people read them."""
