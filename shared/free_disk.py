"""The floor of free disk, below which nothing large is stored."""

import shutil
from pathlib import Path

from sqlalchemy import Engine

from shared.settings import Settings


class DiskLow(Exception):
    """Less disk is free than `QUIRE_MIN_FREE_BYTES`."""

    def __init__(self, free: int, floor: int) -> None:
        super().__init__(
            f"the server's disk has {free:,} bytes free, and the last {floor:,} are kept "
            "(QUIRE_MIN_FREE_BYTES); its admin must free space"
        )


def check_free_disk(engine: Engine, settings: Settings) -> None:
    """Check that the disk of the database has room.

    Only SQLite's disk is known: PostgreSQL tells no client how much of its disk is free.

    Raises:
        DiskLow: It has less than the floor.
    """
    path = engine.url.database
    if engine.dialect.name != "sqlite" or not path or not settings.min_free_bytes:
        return
    free = shutil.disk_usage(Path(path).parent).free
    if free < settings.min_free_bytes:
        raise DiskLow(free, settings.min_free_bytes)
