"""Drawing again in place of known items, whatever the order in which texts end."""

from collections.abc import Sequence as Places
from dataclasses import replace

import numpy as np
import pytest

from shared.specs.generation import MAX_DRAWS
from shared.specs.seeds import redraw_seed
from tests.unit.ml.networks import STATEFUL, make_request, make_weights
from worker.handlers.generated_text import GeneratedText
from worker.handlers.known_items import NearestItems, NewItems
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.sequence import Sequence

#: So few tokens that texts often repeat each other.
LENGTH, TEXTS = 1, 12


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    return Sampler(make_weights(STATEFUL, scale=0.4), STATEFUL)


def whole(text: GeneratedText) -> str:
    return " ".join(map(str, text.sequence.output_ids))


def drawn(sampler: Sampler, known: set[str], order: Places[int]) -> tuple[list[str], NewItems]:
    """Write texts, always advancing the first one in `order` that needs it."""

    def begin(text: GeneratedText, seed: int) -> Sequence:
        return sampler.new_sequence(replace(text.sequence.request, seed=seed))

    requests = [make_request(length=LENGTH, seed=seed) for seed in range(TEXTS)]
    texts = [GeneratedText("", sampler.new_sequence(request)) for request in requests]
    new = NewItems(texts, known, whole, begin)
    while unfinished := [place for place in order if not texts[place].ended]:
        sampler.advance([texts[unfinished[0]].sequence])
        for sequence in new.drawn_again():
            assert sequence.remaining_steps
    assert new.settled == TEXTS
    return ["" if text.exhausted else whole(text) for text in texts], new


def test_no_text_is_known_or_comes_twice_in_whatever_order_they_end(sampler: Sampler) -> None:
    plain = [whole(text) for text in drawn(sampler, set(), range(TEXTS))[1].texts[:1]]
    known = {plain[0]}
    found, new = drawn(sampler, known, range(TEXTS))
    assert sum(text.discarded for text in new.texts) > 0
    assert new.texts[0].discarded >= 1
    kept = [text for text in found if text]
    assert len(set(kept)) == len(kept)
    assert known.isdisjoint(kept)
    for order in (range(TEXTS)[::-1], np.random.default_rng(1).permutation(TEXTS).tolist()):
        again, same = drawn(sampler, known, order)
        assert again == found
        assert [text.discarded for text in same.texts] == [text.discarded for text in new.texts]
    redrawn = next(text for text in new.texts if 0 < text.discarded < MAX_DRAWS)
    place = new.texts.index(redrawn)
    assert redrawn.sequence.request.seed == redraw_seed(place, redrawn.discarded)


def test_a_text_without_a_new_draw_stays_empty(sampler: Sampler) -> None:
    everything = {str(id) for id in range(STATEFUL.vocabulary_size)}
    found, new = drawn(sampler, everything, range(TEXTS))
    assert found == [""] * TEXTS
    assert {text.discarded for text in new.texts} == {MAX_DRAWS}


def test_the_nearest_is_the_first_of_equals_and_waits_for_what_is_settled(
    sampler: Sampler,
) -> None:
    texts = [GeneratedText("", sampler.new_sequence(make_request(length=1))) for _ in range(3)]
    for text in texts[:2]:
        sampler.generate([text.sequence.request])
        text.stopped = True
    texts[1].exhausted = True
    nearest = NearestItems(texts, ["Anna", "Hanna", "Anne", "Anno"], lambda text: "Ann")
    nearest.look(1)
    assert nearest.found == [("Anna", 1)]
    nearest.look(3)
    nearest.look(3)
    assert nearest.found == [("Anna", 1), None]
    assert not nearest.finished
    texts[2].stopped = True
    nearest.look(3)
    assert nearest.finished
