"""The tail of a text, on which Quire and its peers are judged."""

from worker.ml.config import TrainConfig
from worker.ml.holdout import Holdout
from worker.ml.vocabulary import Ids


def split_tail(ids: Ids, config: TrainConfig) -> tuple[Ids, Ids]:
    """Views of what a training with `holdout: tail` trains on, and of the tail."""
    [(first, end)] = Holdout.draw(config, len(ids)).pieces
    return ids[:first], ids[first:end]
