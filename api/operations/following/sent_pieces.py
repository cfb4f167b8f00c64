"""Which pieces of texts a client was sent, so that none is sent twice."""

from typing import Any

from shared import job_events


class SentPieces:
    """What a client was sent of the texts of one job."""

    def __init__(self) -> None:
        #: The latest known attempt.
        self._attempt = 0
        #: How many characters of each text were sent, by position.
        self._sent_characters: dict[int, int] = {}

    def note_attempt(self, attempt: int) -> None:
        """Take no more pieces of older attempts than this."""
        self._attempt = max(self._attempt, attempt)

    def new_part(self, entry: job_events.Entry) -> dict[str, Any] | None:
        """Return the part of a piece that was not sent yet, and count it as sent.

        A new attempt writes a text again from its beginning. After Redis has lost the events, an
        older attempt may publish first. Only its pieces have to be filtered: everything else is
        published after a write that the attempt number fences.
        """
        attempt, _ = job_events.sort_key(entry.id)
        if attempt < self._attempt:
            return None
        self._attempt = attempt
        position, offset, text = (entry.data[name] for name in ("position", "offset", "text"))
        prompt = {"prompt": entry.data["prompt"]} if "prompt" in entry.data else {}
        sent = self._sent_characters.get(position, 0)
        if offset + len(text) <= sent:
            return None
        skipped = max(0, sent - offset)
        if skipped:
            text, offset, prompt = text[skipped:], sent, {}
        self._sent_characters[position] = offset + len(text)
        told = _told_of_tokens(entry.data, skipped)
        return {"index": position, "offset": offset, "text": text} | prompt | told


def _told_of_tokens(piece: dict[str, Any], skipped: int) -> dict[str, Any]:
    """Return what a piece tells of its tokens, without those of characters that were sent."""
    if "tokens" not in piece:
        return {}
    first = 0
    while skipped > 0 and first < len(piece["tokens"]):
        skipped -= len(piece["tokens"][first])
        first += 1
    return {
        "tokens": piece["tokens"][first:],
        "logprobs": piece["logprobs"][first:],
        "top_logprobs": [
            [{"token": token, "logprob": logprob} for token, logprob in likeliest]
            for likeliest in piece["top_logprobs"][first:]
        ],
    }
