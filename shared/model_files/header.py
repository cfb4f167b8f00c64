"""The header of a safetensors file, read strictly and written as the library writes it.

A file is 8 bytes (the length of the header, little-endian), the header in JSON, and the bytes of
the tensors, one after the other. Nothing is taken on trust: the length is bounded before a byte of
the header is read, and the tensors must fill the rest of the file exactly.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

LENGTH_BYTES = 8
#: The largest vocabulary, with every character escaped, takes about a fifth of it.
MAX_HEADER_BYTES = 32 * 1024**2
MAX_DIMENSIONS = 8
METADATA = "__metadata__"
#: All that a model's file may hold; safetensors knows more types.
DTYPE, ITEM_BYTES = "F32", 4


class RefusedFile(ValueError):
    """A file that is not taken.

    Attributes:
        code: Says for programs what is wrong, such as ``truncated``.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor lies: its shape, and the bytes `begin` to `end` after the header."""

    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a file.

    Attributes:
        size_bytes: Its own bytes, the 8 of its length included. The first tensor begins there.
        tensors: The tensors by name, in the order of their bytes.
        metadata: The strings that it holds besides.
    """

    size_bytes: int
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    def only(self, names: list[str], metadata: Mapping[str, str]) -> bytes:
        """Write the header of a file with some of the tensors, in the order of their bytes."""
        entries: dict[str, Any] = {METADATA: dict(metadata)}
        place = 0
        for name, tensor in self.tensors.items():
            if name not in names:
                continue
            end = place + tensor.end - tensor.begin
            entries[name] = {
                "dtype": DTYPE,
                "shape": list(tensor.shape),
                "data_offsets": [place, end],
            }
            place = end
        data = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
        data += b" " * (-len(data) % LENGTH_BYTES)
        return len(data).to_bytes(LENGTH_BYTES, "little") + data


def header_length(start: bytes, file_bytes: int) -> int:
    """Return the length of the header from the first 8 bytes of a file.

    Raises:
        RefusedFile: There are not 8 bytes, or the header would be too long.
    """
    if len(start) < LENGTH_BYTES:
        raise RefusedFile(
            "truncated", f"the file has {len(start)} bytes, too few for a safetensors file"
        )
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise RefusedFile(
            "header-too-large",
            f"the header claims {length:,} bytes, and may have {MAX_HEADER_BYTES:,}. This is no "
            "file of a model",
        )
    if LENGTH_BYTES + length > file_bytes:
        raise RefusedFile(
            "truncated",
            f"the header claims {length:,} bytes, and the file ends after {file_bytes:,}. Copy the "
            "whole file again",
        )
    return length


def parse_header(start: bytes, file_bytes: int) -> Header:
    """Parse the header of a file.

    Args:
        start: The file from its first byte to the end of the header, or further.
        file_bytes: The size of the file.

    Raises:
        RefusedFile: Something about it is wrong; the message says what.
    """
    length = header_length(start, file_bytes)
    entries = _parse(start[LENGTH_BYTES : LENGTH_BYTES + length])
    metadata = entries.pop(METADATA, {})
    if not _is_text(metadata):
        raise RefusedFile("bad-header", f"{METADATA} is not an object of strings")
    tensors = [(name, _tensor(name, entry)) for name, entry in entries.items()]
    tensors.sort(key=lambda each: (each[1].begin, each[1].end))
    size_bytes = LENGTH_BYTES + length
    _check_places(tensors, file_bytes - size_bytes)
    return Header(size_bytes, dict(tensors), metadata)


def parse_json(data: bytes | str, what: str, code: str) -> dict[str, Any]:
    """Parse a JSON object, strictly: every key once, no NaN, and limited nesting.

    Raises:
        RefusedFile: It is something else.
    """

    def refuse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not a JSON number")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in found if names.count(name) > 1)
            raise ValueError(f"{twice[:100]!r} occurs twice")
        return found

    try:
        text = data.decode() if isinstance(data, bytes) else data
        value = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise RefusedFile(code, f"{what} is not valid JSON ({reason})") from None
    if not isinstance(value, dict):
        raise RefusedFile(code, f"{what} is not a JSON object")
    return value


def _parse(data: bytes) -> dict[str, Any]:
    if not data.startswith(b"{"):
        raise RefusedFile("bad-header", "the header is not a JSON object: no safetensors file")
    return parse_json(data, "the header", "bad-header")


def _is_text(metadata: Any) -> bool:
    return isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())


def _tensor(name: str, entry: Any) -> Tensor:
    shown = repr(name[:100])
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise RefusedFile("bad-header", f"{shown} needs dtype, shape and data_offsets")
    if entry["dtype"] != DTYPE:
        raise RefusedFile(
            "wrong-type", f"{shown} has the type {str(entry['dtype'])[:20]!r}; a model has {DTYPE}"
        )
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise RefusedFile("bad-header", f"the shape of {shown} is not a list of sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise RefusedFile("bad-header", f"the data_offsets of {shown} are not a begin and an end")
    needed = math.prod(shape) * ITEM_BYTES
    if offsets[1] - offsets[0] != needed:
        raise RefusedFile(
            "wrong-shape",
            f"{shown} has the shape {shape}, which takes {needed:,} bytes, and "
            f"{offsets[1] - offsets[0]:,} bytes in the file",
        )
    return Tensor(tuple(shape), offsets[0], offsets[1])


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 2**63 for value in values
    )


def _check_places(tensors: list[tuple[str, Tensor]], data_bytes: int) -> None:
    """Check that the tensors fill the file: no two in one place, and nothing between or after."""
    place, before = 0, ""
    for name, tensor in tensors:
        if tensor.begin < place:
            raise RefusedFile(
                "overlapping-tensors", f"{name[:100]!r} and {before[:100]!r} share bytes"
            )
        if tensor.begin > place:
            raise RefusedFile(
                "gap", f"{tensor.begin - place:,} bytes before {name[:100]!r} belong to no tensor"
            )
        place, before = tensor.end, name
    if place > data_bytes:
        raise RefusedFile(
            "truncated",
            f"the tensors need {place:,} bytes, and the file has {data_bytes:,} for them. Copy the "
            "whole file again",
        )
    if place < data_bytes:
        raise RefusedFile(
            "trailing-bytes", f"{data_bytes - place:,} bytes follow after the last tensor"
        )
