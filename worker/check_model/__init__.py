"""Reads the file of an exported model that somebody sends, and trusts nothing of it."""
