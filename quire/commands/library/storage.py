"""`quire storage`: what is stored on the server, and how much disk is left."""

from quire import config
from quire.terminal import formatting
from quire.terminal.console import Json, print_fields, print_json


def show_storage(as_json: Json = False) -> None:
    """Show what is stored on the server, and how much of its disk is free (admins only)."""
    with config.connect() as client:
        storage = client.storage()
    if as_json:
        print_json(storage)
        return
    free = "unknown: PostgreSQL tells none, so watch it there"
    if storage.disk_free_bytes is not None and storage.disk_bytes is not None:
        free = f"{formatting.size(storage.disk_free_bytes)} of {_size(storage.disk_bytes)}"
    print_fields(
        [
            ("texts", _size(storage.corpora_bytes)),
            ("checkpoints", _size(storage.checkpoints_bytes)),
            ("kept of both", f"{_size(storage.blobs_bytes)} (equal contents once)"),
            ("database", _size(storage.database_bytes)),
            ("free disk", free),
            ("kept free", _size(storage.min_free_bytes)),
        ]
    )


def _size(size: int | None) -> str:
    return "unknown" if size is None else formatting.size(size)
