"""Reading all of a backup, to know that it could be restored."""

from pathlib import Path

from quire.server.backup.archive import ArchiveReader, Manifest
from quire.server.backup.making import Progress
from quire.server.backup.rows import decode
from shared.tables import CHUNK_BYTES, Blob


def verify_backup(path: Path, progress: Progress = lambda _done, _total: None) -> Manifest:
    """Read every row and every byte of a backup, and compare the hashes.

    Args:
        path: The file.
        progress: Is told how far it is.

    Raises:
        BadBackup: Something is missing or has changed; the message says what.
        InvalidInput: The file can't be read.
    """
    with ArchiveReader(path) as archive:
        manifest = archive.manifest
        sizes: dict[str, int] = {}
        for table in manifest.tables:
            for line in archive.lines(table):
                try:
                    row = decode(line, table.columns)
                except ValueError:
                    raise archive.damaged(f"table {table.name}") from None
                if table.name == Blob.__tablename__:
                    sizes[row["sha256"]] = row["size_bytes"]
        if (len(sizes), sum(sizes.values())) != (manifest.blobs.count, manifest.blobs.bytes):
            raise archive.damaged("the list of blobs")
        done = 0
        for sha256, size in sizes.items():
            for piece in archive.blob(sha256, size, CHUNK_BYTES):
                done += len(piece)
                progress(done, manifest.blobs.bytes)
        return manifest
