"""The routes: one module per resource, with short handlers."""
