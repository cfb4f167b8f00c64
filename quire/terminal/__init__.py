"""Terminal output: the consoles, and the formatting of numbers and times."""
