"""What the metadata says of the model: its name and spec, its network and its tokens."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import ValidationError

from shared.model_files.about import CHECKPOINT_KEY, MODEL_KEY, About
from shared.model_files.header import RefusedFile, parse_json
from shared.texts.characters import forbidden_at
from worker.ml.config import ITEM_BEGIN, ITEM_END, NetworkConfig, TrainConfig
from worker.ml.vocabulary import Vocabulary


def about_of(document: str) -> About:
    """What the export says of its model.

    Raises:
        RefusedFile: A field is missing, or has no possible value.
    """
    given = parse_json(document, MODEL_KEY, "bad-metadata")
    check_strings(given, MODEL_KEY)
    try:
        return About.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "its fields"
        raise RefusedFile("bad-metadata", f"{MODEL_KEY}: {place}: {first['msg'].lower()}") from None


def network_of(described: Mapping[str, Any], about: About, tensors: int) -> NetworkConfig:
    """The network that the file describes, which must be the one of its training's numbers."""
    given = described.get("network")
    if not isinstance(given, dict):
        raise RefusedFile("bad-metadata", f"{CHECKPOINT_KEY}: network is missing")
    try:
        network = NetworkConfig(**given)
        # Before a list of its weights is made: a number of layers costs nothing to write.
        if network.layers > tensors:
            raise RefusedFile("missing-tensors", f"{network.layers:,} layers in {tensors} tensors")
        spec = about.spec.model_dump()
        expected = TrainConfig.from_spec(spec, network.vocabulary_size).network
    except (TypeError, ValueError) as error:
        if isinstance(error, RefusedFile):
            raise
        raise RefusedFile("bad-metadata", f"{CHECKPOINT_KEY}: network: {error}") from None
    for field in fields(NetworkConfig):
        is_now, should = getattr(network, field.name), getattr(expected, field.name)
        if is_now != should:
            raise RefusedFile(
                "wrong-network",
                f"the network's {field.name} is {is_now!r}, and {should!r} in its training's spec",
            )
    return network


def vocabulary_of(described: Mapping[str, Any], about: About, network: NetworkConfig) -> Vocabulary:
    """The tokens, which must be as many as the network has, and such as texts may hold."""
    characters, words = described.get("characters"), described.get("words", [])
    rules, lowercase = described.get("format"), described.get("lowercase")
    if (
        not isinstance(characters, str)
        or not isinstance(words, list)
        or not all(isinstance(word, str) for word in words)
    ):
        raise RefusedFile("bad-vocabulary", "characters must be a string, and words strings")
    marks = ITEM_BEGIN + ITEM_END
    if about.spec.items and not set(marks) <= set(characters):
        raise RefusedFile("bad-vocabulary", "a model of a list needs the marks of its items")
    plain = characters.translate({ord(mark): None for mark in marks * about.spec.items})
    place = forbidden_at(plain)
    if place is not None:
        raise RefusedFile("bad-vocabulary", f"no text may hold U+{ord(plain[place]):04X}")
    # A text in which no word repeats has none, whatever its tokenizer.
    if words and about.spec.tokenizer == "char":
        raise RefusedFile("bad-vocabulary", f"{len(words)} words with the tokenizer 'char'")
    if not words and about.characters_per_token != 1:
        raise RefusedFile(
            "bad-vocabulary", f"{about.characters_per_token} characters per token without words"
        )
    if lowercase is not about.spec.lowercase:
        raise RefusedFile(
            "bad-vocabulary", f"lowercase is {lowercase!r}, and otherwise in the spec"
        )
    if type(rules) is not int:
        raise RefusedFile("bad-metadata", f"{CHECKPOINT_KEY}: format is {rules!r}")
    try:
        vocabulary = Vocabulary(characters, tuple(words), rules)
    except ValueError as error:
        raise RefusedFile("bad-vocabulary", str(error)) from None
    if len(vocabulary) != network.vocabulary_size:
        raise RefusedFile(
            "bad-vocabulary",
            f"{len(vocabulary):,} tokens for a network of {network.vocabulary_size:,}",
        )
    return vocabulary


def check_strings(value: Any, place: str) -> None:
    """Refuse characters that a database can't hold, in any string of a JSON value."""
    if isinstance(value, str) and forbidden_at(value) is not None:
        raise RefusedFile("bad-metadata", f"{place} holds a character that no text may hold")
    if isinstance(value, dict):
        for name, each in value.items():
            check_strings(name, place)
            check_strings(each, f"{place}.{name[:50]}")
    if isinstance(value, list):
        for each in value:
            check_strings(each, place)
