"""Random pieces of a corpus, from which texts begin."""

import string

from worker.data.corpora import PIECE_CHARACTERS, random_piece


def test_a_random_piece_is_any_piece_of_the_corpus() -> None:
    text = string.printable[: PIECE_CHARACTERS + 2]
    pieces = {random_piece(text, seed, None) for seed in range(60)}
    assert pieces == {text[i : i + PIECE_CHARACTERS] for i in range(3)}
    assert {random_piece(text, seed, len(text) - 1) for seed in range(60)} == {text[:-1], text[1:]}
    assert random_piece(text, 3, None) == random_piece(text, 3, None)


def test_a_shorter_corpus_is_taken_whole() -> None:
    for length in (1, 59, 60):
        text = string.printable[:length]
        assert random_piece(text, 1, None) == text
