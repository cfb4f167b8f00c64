"""Turn rows into replies, limited to what the current user may see."""
