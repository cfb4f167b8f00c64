"""Resolved job specs and what belongs to them: presets, estimates, limits, seeds."""
