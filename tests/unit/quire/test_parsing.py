"""Parsing of what people type, and formatting of what they read."""

from datetime import UTC, datetime, timedelta

import pytest

from quire.client.replies import Job, Novelty, Progress
from quire.commands.jobs.generate import parse_temperatures
from quire.commands.jobs.training_inputs import parse_settings
from quire.commands.server.demo import known_words_sentence
from quire.errors import InvalidInput
from quire.lookup import is_id
from quire.server.demo_corpus import written_words
from quire.terminal import formatting
from quire.watch.wait import progress_text


def test_settings_become_fields() -> None:
    settings = ["units=128", "learning-rate=3e-3", "clip_norm=none", "optimizer=adam"]
    assert parse_settings([*settings, "lowercase=true"]) == {
        "units": 128,
        "learning_rate": 0.003,
        "clip_norm": None,
        "optimizer": "adam",
        "lowercase": True,
    }


@pytest.mark.parametrize("settings", [["units"], ["=3"], ["units="], ["units=1", "units=2"]])
def test_invalid_settings_are_refused(settings: list[str]) -> None:
    with pytest.raises(InvalidInput, match="--set"):
        parse_settings(settings)


def test_one_temperature_is_a_number_and_several_are_a_list() -> None:
    assert parse_temperatures("0.5") == 0.5
    assert parse_temperatures("0.2, 0.5,1") == [0.2, 0.5, 1.0]
    assert parse_temperatures("1.2..0.4") == {"from": 1.2, "to": 0.4}
    assert parse_temperatures("1,1.2..0") == [1.0, {"from": 1.2, "to": 0.0}]
    for wrong in ("1..", "..1", "1..2..3", "a..b"):
        with pytest.raises(InvalidInput, match=r"1\.2\.\.0\.4"):
            parse_temperatures(wrong)
    with pytest.raises(InvalidInput):
        parse_temperatures(",")


def test_ids_are_recognised() -> None:
    assert is_id("019ab0c4-0000-7000-8000-000000000000")
    assert not is_id("nietzsche")


def test_durations_and_sizes_are_formatted_for_people() -> None:
    assert [formatting.duration(seconds) for seconds in (0, 9, 754, 3723)] == [
        "0:00",
        "0:09",
        "12:34",
        "1:02:03",
    ]
    assert [formatting.size(value) for value in (12, 600_893, 3 * 1024**3)] == [
        "12 Bytes",
        "586.8 KiB",
        "3.0 GiB",
    ]
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert formatting.ago(now - timedelta(minutes=5), now) == "5 minutes ago"
    assert formatting.ago(now + timedelta(seconds=2), now) == "now"
    assert [formatting.duration_in_words(seconds) for seconds in (0.26, 3.04, 75.2)] == [
        "0.3 seconds",
        "3 seconds",
        "1 minute and 15 seconds",
    ]


def test_progress_says_only_what_is_known() -> None:
    assert progress_text(Progress()) == ""
    assert progress_text(
        Progress(step=1200, steps_total=2670, loss=1.5321, epoch=4.49, epochs=10)
    ) == ("step 1,200 of 2,670 · epoch 4.5 of 10 · loss 1.532")


def test_a_reply_keeps_fields_of_a_newer_server() -> None:
    sent = {
        "id": "1",
        "kind": "train",
        "status": "running",
        "created_at": "2026-01-02T03:04:05Z",
        "queue_position": 3,
    }
    assert Job.model_validate(sent).as_json() == sent


def test_novelty_is_one_line() -> None:
    some = Novelty(copied_characters=18, copied="word for word, and", known_grams=0.541)
    assert some.line() == "longest copy 18 characters, 54% of its 8-grams known"
    assert Novelty(copied_characters=1, copied="w").line() == "longest copy 1 character"
    assert "2.21 bits/char" in progress_text(Progress(val_loss=1.532, bits_per_char=2.21))


def test_a_text_without_words_has_no_share_of_known_words() -> None:
    assert (
        known_words_sentence(["the", "Zog"], "the one")
        == "[bold]50%[/] of its 2 words occur in the corpus."
    )
    assert known_words_sentence(written_words("+--", "--+---|\n"), "the one").startswith(
        "the text has no words"
    )
