"""What `quire train` turns its arguments into: a corpus, a checkpoint to start from, a spec."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quire.client import Client
from quire.client.replies import Corpus
from quire.client.requests.sources import corpus_name
from quire.commands.library.items_options import TEXT, Shape
from quire.commands.library.uploads import (
    describe,
    print_findings,
    read_files,
    upload_once,
)
from quire.errors import InvalidInput, NotFound
from quire.lookup import find_corpus, find_model, is_id
from quire.terminal.console import print_note

#: Fields that `--set` may not set, because they have options of their own.
FIELDS_WITH_OPTIONS = frozenset(
    {"corpus", "from", "preset", "name", "visibility", "tokenizer", "epochs", "budget", "seed"}
    | {
        "holdout",
        "sample",
        "priority",
        "after",
        "start_before",
        "deadline",
        "deadline_seconds",
        "notify",
    }
)


def find_or_upload(
    client: Client, references: Sequence[str], encoding: str | None, items: Shape = TEXT
) -> Corpus:
    """Find a corpus by name or id, or upload the files at these paths as one corpus.

    Files are not uploaded again if the server has a corpus of their name and text.

    Raises:
        InvalidInput: Several references are not all files.
        NotFound: There is neither a corpus nor a file of that name.
    """
    if all(map(_is_path, references)):
        files = read_files(references)
        name = corpus_name(references[0])
        corpus, is_new = upload_once(client, files, name, encoding=encoding, items=items)
        print_note(f"{'Uploaded' if is_new else 'Already uploaded:'} {describe(corpus)}.")
        print_findings(corpus.findings if is_new else [])
        return corpus
    if len(references) > 1:
        raise InvalidInput(
            f"--corpus is given {len(references)} times, which puts files together: name files "
            "only, or give it once"
        )
    for option, value in items.items():
        if value is not None:
            raise InvalidInput(
                f"--{option} says how a file is cut, and {references[0]!r} is none: upload the "
                "list with `quire corpus add`"
            )
    [reference] = references
    try:
        return find_corpus(client, reference)
    except NotFound as error:
        raise NotFound(f"{error}. There is no file {reference!r} here either") from None


def _is_path(reference: str) -> bool:
    path = Path(reference).expanduser()
    return ("/" in reference or path.exists()) and not is_id(reference)


def find_checkpoint(client: Client, reference: str) -> str:
    """Find the id of a checkpoint: the given id, or the best checkpoint of a model.

    Raises:
        NotFound: There is no such model, or it has no checkpoint yet.
    """
    try:
        model = find_model(client, reference)
    except NotFound:
        if is_id(reference):
            return reference
        raise
    best = (model.checkpoints or {}).get("best")
    if best is None:
        raise NotFound(f"model {model.name!r} has no checkpoint to start from yet")
    return str(best)


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Parse ``["units=128", "clip_norm=null"]`` into the fields of a request.

    Raises:
        InvalidInput: A setting is not FIELD=VALUE, comes twice, or has an option of its own.
    """
    fields: dict[str, Any] = {}
    for setting in settings:
        field, equals, value = setting.partition("=")
        field = field.strip().replace("-", "_")
        if not (field and equals and value.strip()):
            raise InvalidInput(f"--set {setting}: write it as FIELD=VALUE, such as units=128")
        if field in FIELDS_WITH_OPTIONS:
            option = "seconds" if field == "budget" else field.replace("_", "-")
            raise InvalidInput(f"--set {setting}: use the option --{option} instead")
        if field in fields:
            raise InvalidInput(f"--set {field} is given twice")
        fields[field] = _parse_value(value.strip())
    return fields


def _parse_value(text: str) -> Any:
    if text.lower() in {"none", "null"}:
        return None
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text  # a word, such as optimizer=adam
    return value
