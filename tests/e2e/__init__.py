"""End-to-end tests: the whole of Quire, as people use it."""
