"""Backups: all of a database in one file, from SQLite or PostgreSQL and into either.

A backup is a tar file that any tar lists. `archive.py` says what is in it, `source.py` takes a
consistent view of the rows, `making.py` writes a backup, `verifying.py` reads all of one, and
`restoring.py` puts one into an empty database.

These modules need the extra `server`, so commands import them only where they use them.
"""
