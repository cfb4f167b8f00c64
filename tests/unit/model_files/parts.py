"""A model's file, taken apart and put together again."""

import copy
import json
import struct
from pathlib import Path
from typing import Any

from shared.specs.presets import resolve_train
from tests.api.exported import SMALL, state_of
from worker.check_model.file import check
from worker.ml.checkpoint import digest, pack

SPEC = resolve_train("default", SMALL, seed=1, threads=1, shards=1).model_dump(mode="json")


CHARACTERS = "\n abcdefg"


STATE = state_of(SPEC, CHARACTERS)
PACKED, DIGEST = pack(STATE), digest(STATE)


NOWHERE = "01890a5d-ac96-774b-bcce-b302099a8057"


ABOUT = {
    "format": 1,
    "name": "letters",
    "spec": SPEC,
    "characters_per_token": 1.0,
    "val_loss": 2.75,
    "origin": {
        "model": NOWHERE,
        "checkpoint": NOWHERE,
        "sha256": "0" * 64,
        "digest": DIGEST,
        "corpus_sha256": None,
        "from_checkpoint": None,
        "optimizer": True,
    },
}


class Parts:
    """A file taken apart: its header as JSON, the two entries of metadata, and the numbers."""

    def __init__(self, packed: bytes | None = None) -> None:
        packed = packed or PACKED
        length = int.from_bytes(packed[:8], "little")
        self.header: dict[str, Any] = json.loads(packed[8 : 8 + length])
        self.quire: dict[str, Any] = json.loads(self.header.pop("__metadata__")["quire"])
        self.about: dict[str, Any] = copy.deepcopy(ABOUT)
        self.numbers = bytearray(packed[8 + length :])
        self.raw: dict[str, str] = {}

    def bytes(self) -> bytes:
        metadata = {
            "quire": json.dumps(self.quire),
            "quire.model": json.dumps(self.about),
            **self.raw,
        }
        header = json.dumps({"__metadata__": metadata, **self.header}).encode()
        return len(header).to_bytes(8, "little") + header + bytes(self.numbers)

    def put(self, name: str, index: int, number: float) -> None:
        struct.pack_into(
            "<f", self.numbers, self.header[name]["data_offsets"][0] + 4 * index, number
        )

    def drop(self, name: str) -> None:
        """Take a tensor out, and close the gap."""
        begin, end = self.header.pop(name)["data_offsets"]
        del self.numbers[begin:end]
        for entry in self.header.values():
            if entry["data_offsets"][0] >= end:
                entry["data_offsets"] = [each - (end - begin) for each in entry["data_offsets"]]


def checked(data: bytes, directory: Path) -> dict[str, Any]:
    path = directory / "file"
    path.write_bytes(data)
    return check(path)


WHOLE = Parts().bytes()


HEADER_END = 8 + int.from_bytes(WHOLE[:8], "little")
