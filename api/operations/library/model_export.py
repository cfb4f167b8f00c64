"""Export a model: the file of one checkpoint, with what its rows know."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from sqlalchemy.orm import Session

from api.errors import NoCheckpointYet, NotFound
from api.operations.library.lineage import of_checkpoint
from api.permissions import as_id, visible
from api.schemas.params import ExportQuery
from api.services import reading, services
from shared import blobs
from shared.checkpoint_aliases import resolve
from shared.model_files.about import MODEL_KEY, TRAINING_PREFIX, About, Origin
from shared.model_files.header import LENGTH_BYTES, header_length, parse_header
from shared.specs.training import TrainSpec
from shared.tables import Checkpoint, Model

ALIASES = ("best", "latest")


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file to send.

    Attributes:
        name: Its name.
        size_bytes: Its size.
        chunks: Its bytes.
    """

    name: str
    size_bytes: int
    chunks: Iterator[bytes]


def export_model(reference: str, query: ExportQuery) -> ExportedFile:
    """Return the file of a model that the current user may see.

    Raises:
        NotFound: The model or its checkpoint does not exist, or the user may not see it.
        NoCheckpointYet: Its training has stored no checkpoint.
        shared.blobs.MissingBlob: The checkpoint's bytes are not in the database.
    """
    with reading() as session:
        model = visible(session, Model, reference)
        checkpoint = _checkpoint(session, model, query.checkpoint)
        about = _about(session, model, checkpoint, optimizer=query.optimizer)
        name = f"{model.name.replace('/', '-')}.safetensors"
    stored = blobs.chunks(services().engine, checkpoint.sha256)
    start, rest = _read_header(stored, checkpoint.size_bytes)
    header = parse_header(start, checkpoint.size_bytes)
    kept = [
        tensor
        for tensor in header.tensors
        if query.optimizer or not tensor.startswith(TRAINING_PREFIX)
    ]
    if query.optimizer and not any(tensor.startswith(TRAINING_PREFIX) for tensor in kept):
        # An imported model that came without it.
        origin = about.origin.model_copy(update={"optimizer": False})
        about = about.model_copy(update={"origin": origin})
    metadata = {**header.metadata, MODEL_KEY: about.model_dump_json()}
    head = header.only(kept, metadata)
    tensors = [header.tensors[tensor] for tensor in kept]
    size_bytes = len(head) + sum(tensor.end - tensor.begin for tensor in tensors)
    data = chain([start[header.size_bytes :]], rest)
    ranges = [(tensor.begin, tensor.end) for tensor in tensors]
    return ExportedFile(name, size_bytes, chain([head], _only(data, ranges)))


def _checkpoint(session: Session, model: Model, reference: str) -> Checkpoint:
    is_alias = reference in ALIASES
    wanted = reference if is_alias else as_id("checkpoint", reference)
    found = resolve(session.connection(), model.id, wanted)
    if found is None and is_alias:
        raise NoCheckpointYet(
            f"model {model.name!r} has no checkpoint yet: its training stores the first one after "
            "its first epoch"
        )
    if found is None:
        raise NotFound("checkpoint", reference)
    return session.get_one(Checkpoint, found)


def _about(session: Session, model: Model, checkpoint: Checkpoint, *, optimizer: bool) -> About:
    lineage = of_checkpoint(session, checkpoint, model)
    return About(
        name=model.name,
        spec=TrainSpec.model_validate(model.spec),
        characters_per_token=model.characters_per_token or 1.0,
        val_loss=checkpoint.val_loss,
        origin=Origin(
            model=model.id,
            checkpoint=checkpoint.id,
            sha256=checkpoint.sha256,
            digest=checkpoint.digest,
            corpus_sha256=lineage.corpus_sha256,
            from_checkpoint=lineage.from_checkpoint,
            optimizer=optimizer,
        ),
    )


def _read_header(chunks: Iterator[bytes], size_bytes: int) -> tuple[bytes, Iterator[bytes]]:
    """Return the bytes up to the header's end, or further, and the chunks after these."""
    start = b""
    needed = LENGTH_BYTES
    while len(start) < needed and (chunk := next(chunks, None)) is not None:
        start += chunk
        if len(start) >= LENGTH_BYTES:
            needed = LENGTH_BYTES + header_length(start, size_bytes)
    return start, chunks


def _only(chunks: Iterator[bytes], ranges: list[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the bytes of these ranges, which are in order."""
    place = 0
    for chunk in chunks:
        end = place + len(chunk)
        pieces = [
            chunk[max(first, place) - place : min(last, end) - place]
            for first, last in ranges
            if first < end and last > place
        ]
        if pieces:
            yield b"".join(pieces)
        place = end
