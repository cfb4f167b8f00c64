"""Files of models that somebody has made up: each is refused, and the code says what is wrong."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.model_files.header import MAX_HEADER_BYTES, RefusedFile
from tests.api.exported import state_of
from tests.unit.model_files.parts import CHARACTERS, DIGEST, HEADER_END, SPEC, WHOLE, Parts, checked
from worker.ml.checkpoint import digest, pack
from worker.ml.config import ITEM_BEGIN


def test_a_whole_file_is_taken(tmp_path: Path) -> None:
    facts = checked(Parts().bytes(), tmp_path)
    assert facts["digest"] == DIGEST
    assert (facts["characters"], facts["step"], facts["val_loss"]) == (CHARACTERS, 40, 2.75)


@pytest.mark.parametrize("words", [("ab", " cab", "dd"), ()])
def test_a_model_of_words_is_taken(tmp_path: Path, words: tuple[str, ...]) -> None:
    spec = SPEC | {"tokenizer": "word"}
    state = state_of(spec, CHARACTERS, words)
    parts = Parts(pack(state))
    parts.about["spec"] = spec
    parts.about["characters_per_token"] = 3.5 if words else 1.0
    parts.about["origin"]["digest"] = digest(state)
    facts = checked(parts.bytes(), tmp_path)
    assert facts["vocabulary_size"] == len(CHARACTERS) + len(words)
    for wrong in ([*words, "xy"], [*words, "a"], list(words) * 2 + ["ab", "ab"]):
        parts.quire["words"] = wrong
        with pytest.raises(RefusedFile) as refused:
            checked(parts.bytes(), tmp_path)
        assert refused.value.code == "bad-vocabulary"


def test_a_model_with_a_tied_embedding_is_taken_and_every_number_is_checked(tmp_path: Path) -> None:
    spec = SPEC | {"tied_embedding": True}
    state = state_of(spec, CHARACTERS)
    parts = Parts(pack(state))
    parts.about["spec"] = spec
    parts.about["origin"]["digest"] = digest(state)
    assert checked(parts.bytes(), tmp_path)["digest"] == digest(state)
    weights = [name for name in parts.header if not name.startswith("training.")]
    assert set(weights) != {name for name in Parts().header if not name.startswith("training.")}
    for name in weights:
        parts = Parts(pack(state))
        parts.about["spec"] = spec
        parts.put(name, 0, float("nan"))
        with pytest.raises(RefusedFile) as refused:
            checked(parts.bytes(), tmp_path)
        assert refused.value.code == "not-finite", name


def reshape(parts: Parts) -> None:
    rows, columns = parts.header["head.kernel"]["shape"]
    parts.header["head.kernel"]["shape"] = [columns, rows]


def overlap(parts: Parts) -> None:
    # Two tensors of one size in one place leave the other's place empty.
    parts.header["training.raw.head.bias"]["data_offsets"] = list(
        parts.header["head.bias"]["data_offsets"]
    )


def rename(parts: Parts) -> None:
    parts.header["head.other"] = parts.header.pop("head.bias")


def add(parts: Parts) -> None:
    end = len(parts.numbers)
    parts.numbers += bytes(4)
    parts.header["head.more"] = {"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]}


def gap(parts: Parts) -> None:
    for entry in parts.header.values():
        if entry["data_offsets"][0]:
            entry["data_offsets"] = [each + 4 for each in entry["data_offsets"]]
    parts.numbers += bytes(4)


def put(path: str, value: Any) -> Callable[[Parts], None]:
    """Set one value in the JSON, such as `quire.meta.step`."""

    def change(parts: Parts) -> None:
        root, *way, last = path.split(".")
        place: Any = getattr(parts, root)
        for name in way:
            place = place[name]
        place[last] = value

    return change


def raw(name: str, text: str) -> Callable[[Parts], None]:
    return lambda parts: parts.raw.update({name: text})


REFUSED: dict[str, tuple[Callable[[Parts], object], str]] = {
    "a transposed tensor": (reshape, "wrong-shape"),
    "a shape of other size": (put("header.embedding.shape", [2, 2]), "wrong-shape"),
    "a negative size": (put("header.embedding.shape", [-9, -4]), "bad-header"),
    "a size that is no number": (put("header.embedding.shape", [9.0, 4]), "bad-header"),
    "a huge size": (put("header.embedding.shape", [2**62, 2**62]), "wrong-shape"),
    "offsets backwards": (put("header.embedding.data_offsets", [8, 4]), "bad-header"),
    "two tensors in one place": (overlap, "overlapping-tensors"),
    "bytes of no tensor": (gap, "gap"),
    "a tensor less": (lambda parts: parts.drop("head.bias"), "missing-tensors"),
    "a slot less": (lambda parts: parts.drop("training.raw.head.bias"), "missing-tensors"),
    "a tensor of another name": (rename, "missing-tensors"),
    "a tensor more": (add, "unknown-tensors"),
    "half precision": (put("header.embedding.dtype", "F16"), "wrong-type"),
    "a type unknown": (put("header.embedding.dtype", "PICKLE"), "wrong-type"),
    "NaN": (lambda parts: parts.put("head.bias", 3, float("nan")), "not-finite"),
    "infinity": (lambda parts: parts.put("lstm.0.kernel", 5, float("inf")), "not-finite"),
    "NaN in a slot": (
        lambda parts: parts.put("training.momentum.head.bias", 0, float("nan")),
        "not-finite",
    ),
    "a negative square": (
        lambda parts: parts.put("training.velocity.head.bias", 0, -1.0),
        "impossible-number",
    ),
    "a changed number": (lambda parts: parts.put("head.bias", 0, 0.5), "digest-mismatch"),
    "a character less": (put("quire.characters", CHARACTERS[1:]), "bad-vocabulary"),
    "a character twice": (put("quire.characters", "aa" + CHARACTERS[2:]), "bad-vocabulary"),
    "no characters": (put("quire.characters", ""), "bad-vocabulary"),
    "U+0000": (put("quire.characters", "\0" + CHARACTERS[1:]), "bad-vocabulary"),
    "a lone surrogate": (put("quire.characters", "\ud800" + CHARACTERS[1:]), "bad-vocabulary"),
    "an item's mark": (put("quire.characters", ITEM_BEGIN + CHARACTERS[1:]), "bad-vocabulary"),
    "words without words": (put("quire.words", ["ab"]), "bad-vocabulary"),
    "words that are numbers": (put("quire.words", [1]), "bad-vocabulary"),
    "items without marks": (put("about.spec.items", True), "bad-vocabulary"),
    "characters that are more than one": (put("about.characters_per_token", 2.5), "bad-vocabulary"),
    "another case": (put("quire.lowercase", True), "bad-vocabulary"),
    "another format": (put("quire.format", 3), "bad-vocabulary"),
    "a million layers": (put("quire.network.layers", 10**6), "missing-tensors"),
    "no layers": (put("quire.network.layers", 0), "bad-metadata"),
    "units of another network": (put("quire.network.units", 9), "wrong-network"),
    "units of another spec": (put("about.spec.units", 16), "wrong-network"),
    "units beyond the bounds": (put("about.spec.units", 10**9), "bad-metadata"),
    "a spec's unknown field": (put("about.spec.surprise", 1), "bad-metadata"),
    "another rate": (put("quire.meta.config.learning_rate", 1.0), "wrong-config"),
    "a step below zero": (put("quire.meta.step", -1), "bad-metadata"),
    "a step that is true": (put("quire.meta.step", True), "bad-metadata"),
    "a loop elsewhere": (put("quire.meta.loop.step", 41), "bad-metadata"),
    "rollbacks beyond number": (put("quire.meta.loop.rollbacks", 10**40), "bad-metadata"),
    "a loss in words": (put("quire.meta.loss", "low"), "bad-metadata"),
    "pieces out of order": (put("quire.meta.holdout.pieces", [[9, 3]]), "bad-metadata"),
    "pieces that are none": (put("quire.meta.holdout.pieces", "all"), "bad-metadata"),
    "pieces of thousands": (put("quire.meta.holdout.pieces", [[0, 0]] * 2000), "bad-metadata"),
    "a holdout of nothing": (put("quire.meta.holdout", {}), "bad-metadata"),
    "a fingerprint of megabytes": (
        put("quire.meta.fingerprint", {"cpu": "x" * 10**6}),
        "bad-metadata",
    ),
    "U+0000 in a fingerprint": (put("quire.meta.fingerprint", {"cpu": "\0"}), "bad-metadata"),
    "no meta": (put("quire.meta", None), "bad-metadata"),
    "no network": (put("quire.network", [1]), "bad-metadata"),
    "a name of nothing": (put("about.name", ""), "bad-metadata"),
    "no origin": (put("about.origin", None), "bad-metadata"),
    "an origin's digest": (put("about.origin.digest", "f" * 64), "digest-mismatch"),
    "an origin's digest in words": (put("about.origin.digest", "x"), "bad-metadata"),
    "optimizer state that is said not to be": (
        put("about.origin.optimizer", False),
        "missing-tensors",
    ),
    "a format of the future": (put("about.format", 2), "bad-metadata"),
    "metadata that is no JSON": (raw("quire", "{"), "bad-metadata"),
    "metadata with NaN": (raw("quire.model", '{"val_loss": NaN}'), "bad-metadata"),
    "metadata nested deeply": (raw("quire", "[" * 100_000), "bad-metadata"),
    "metadata with a key twice": (raw("quire", '{"a": 1, "a": 2}'), "bad-metadata"),
    "metadata that is a list": (raw("quire.model", "[]"), "bad-metadata"),
    "a number of digits": (raw("quire", '{"a": ' + "9" * 10_000 + "}"), "bad-metadata"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_is_named(what: str, tmp_path: Path) -> None:
    change, code = REFUSED[what]
    parts = Parts()
    change(parts)
    with pytest.raises(RefusedFile) as refused:
        checked(parts.bytes(), tmp_path)
    assert refused.value.code == code, refused.value
    assert len(str(refused.value)) < 500


BYTES = {
    "nothing": (b"", "truncated"),
    "seven bytes": (WHOLE[:7], "truncated"),
    "a header bomb": ((2**63).to_bytes(8, "little") + WHOLE[8:], "header-too-large"),
    "a large header": ((MAX_HEADER_BYTES + 1).to_bytes(8, "little"), "header-too-large"),
    "half a header": (WHOLE[: HEADER_END // 2], "truncated"),
    "no numbers": (WHOLE[:HEADER_END], "truncated"),
    "a number less": (WHOLE[:-4], "truncated"),
    "a byte more": (WHOLE + b"\0", "trailing-bytes"),
    "a pickle": (pickle.dumps(list(range(1000))), "header-too-large"),
    "an empty header": ((2).to_bytes(8, "little") + b"{}", "missing-tensors"),
    "a header in Latin-1": ((3).to_bytes(8, "little") + b'{"\xe9', "bad-header"),
    "a tensor twice": (
        (lambda text: len(text).to_bytes(8, "little") + text)(
            b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},'
            b'"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
        ),
        "bad-header",
    ),
    "only a tensor": (
        (lambda text: len(text).to_bytes(8, "little") + text + bytes(4))(
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        ),
        "no-model",
    ),
}


@pytest.mark.parametrize("what", BYTES)
def test_bytes_that_are_no_file_are_named(what: str, tmp_path: Path) -> None:
    data, code = BYTES[what]
    with pytest.raises(RefusedFile) as refused:
        checked(data, tmp_path)
    assert refused.value.code == code
