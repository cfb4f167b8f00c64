"""The commands of `quire`."""
