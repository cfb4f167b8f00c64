"""Routes about people: groups."""
