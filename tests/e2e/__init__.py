"""The whole of Quire, as people use it."""
