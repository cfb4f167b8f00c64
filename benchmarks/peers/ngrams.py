"""The peer of character networks: an n-gram model with interpolated Kneser-Ney smoothing."""

import math
from collections import Counter
from collections.abc import Mapping


class KneserNey:
    """Predicts a character from the `order - 1` characters before it.

    Chen and Goodman, «An Empirical Study of Smoothing Techniques for Language Modeling» (1998),
    section 2.7: the highest order counts occurrences, each lower order the distinct characters
    before an n-gram; one discount per order, n1 / (n1 + 2 n2). Below the first order all
    characters of the alphabet are equally likely.
    """

    def __init__(self, text: str, order: int, alphabet: int) -> None:
        """Count the n-grams of a text with an alphabet of this size."""
        self._order = order
        self._alphabet = alphabet
        counts = Counter(text[i : i + order] for i in range(len(text) - order + 1))
        self._counts: list[Mapping[str, int]] = [counts]
        while order > 1:
            order -= 1
            counts = Counter(gram[1:] for gram in counts)
            self._counts.insert(0, counts)
        self._totals: list[Counter[str]] = []
        self._kinds: list[Counter[str]] = []
        self._discounts: list[float] = []
        for grams in self._counts:
            totals: Counter[str] = Counter()
            for gram, count in grams.items():
                totals[gram[:-1]] += count
            self._totals.append(totals)
            self._kinds.append(Counter(gram[:-1] for gram in grams))
            once, twice = (sum(count == n for count in grams.values()) for n in (1, 2))
            self._discounts.append(once / (once + 2 * twice) if once else 0.5)

    def probability(self, before: str, character: str) -> float:
        """Return the probability of a character, given the `order - 1` characters before it."""
        found = 1 / self._alphabet
        for n in range(self._order):
            context = before[len(before) - n :]
            total = self._totals[n].get(context)
            if len(context) < n or not total:
                break
            discount = self._discounts[n]
            counted = max(self._counts[n].get(context + character, 0) - discount, 0)
            found = (counted + discount * self._kinds[n][context] * found) / total
        return found

    def bits_per_char(self, text: str, before: str) -> float:
        """Return the mean bits per character of a text that follows `before`."""
        whole = before[len(before) - self._order :] + text
        first = len(whole) - len(text)
        bits = 0.0
        for i in range(first, len(whole)):
            start = max(i - self._order + 1, 0)
            bits -= math.log2(self.probability(whole[start:i], whole[i]))
        return bits / len(text)
