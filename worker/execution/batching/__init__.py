"""Many jobs of a `generate` lane, side by side in one running batch."""
