"""The NumPy code in docs/checkpoint-format.md runs a checkpoint as Quire does."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worker.ml.checkpoint import TrainingState, pack
from worker.ml.config import NetworkConfig
from worker.ml.model import initial_weights
from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.sampler import Sampler
from worker.ml.vocabulary import Vocabulary
from worker.ml.words import RULES

PAGE = Path(__file__).parents[3] / "docs" / "checkpoint-format.md"
CHARACTERS = "".join(sorted("\n etaoinshrdlu\u0301"))


def network_of_the_page() -> Any:
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own page
    return names["Network"]


@pytest.mark.parametrize(
    ("embedding", "layers", "window", "tied"),
    [
        (0, 1, 12, False),
        (8, 1, None, False),
        (8, 2, None, False),
        (0, 2, 5, False),
        (8, 2, None, True),
        (8, 1, 12, True),
    ],
)
@pytest.mark.parametrize("word_rules", RULES)
@pytest.mark.parametrize("words", [(), (" and", " the", "the", " its", "is", "\n\n")])
def test_the_documented_code_generates_what_quire_generates(
    embedding: int,
    layers: int,
    window: int | None,
    tied: bool,
    words: tuple[str, ...],
    word_rules: int,
) -> None:
    network = NetworkConfig(len(CHARACTERS) + len(words), embedding, 24, layers, window, tied)
    # Larger than initial weights, so that the likeliest character is clearly the likeliest.
    weights = {
        name: array if name == "head.bias" else array * 2
        for name, array in initial_weights(network, seed=3).items()
    }
    checkpoint = TrainingState(weights, {}, network, CHARACTERS, True, {}, words, word_rules)
    vocabulary = Vocabulary(CHARACTERS, words, word_rules)
    prompt = vocabulary.encode("the sun and its\nhou\u0301se")
    [ids] = Sampler(weights, network).generate(
        [SamplingRequest(prompt, 40, 0.0, None, None, seed=1)]
    )
    page = network_of_the_page()(pack(checkpoint))
    assert page.encode("The sun and its\nhou\u0301se") == prompt.tolist()
    assert page.write("The sun and its\nhou\u0301se", 40) == vocabulary.decode(np.asarray(ids))
