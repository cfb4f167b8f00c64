"""What a graph tells of its steps beside their tokens, if it is asked; unasked it costs nothing."""

from collections.abc import Sequence
from typing import Literal

import tensorflow as tf

#: The likeliest tokens of each step; or, of the first draw of each row, the logits of all tokens.
Report = Literal["likeliest", "distribution"]
#: The most tokens that are told of one step.
MAX_ALTERNATIVES = 10


def empty_report(kind: Report | None, steps: int, rows: int, vocabulary: int) -> list[tf.Tensor]:
    """The report before the first step.

    Args:
        kind: What is asked.
        steps: The most steps of a call.
        rows: The rows of the batch, B.
        vocabulary: The size of the padded vocabulary, V.
    """
    if kind == "likeliest":
        sizes = [steps, rows, min(MAX_ALTERNATIVES, vocabulary)]
        return [tf.zeros(sizes, tf.int32), tf.zeros(sizes)]
    if kind == "distribution":
        return [tf.zeros([rows, vocabulary]), tf.zeros([rows], tf.bool)]
    return []


def report_step(
    kind: Report | None,
    report: Sequence[tf.Tensor],
    index: tf.Tensor,
    drawn: tf.Tensor,
    below: tf.Tensor,
    total: tf.Tensor,
) -> list[tf.Tensor]:
    """Add a step to the report.

    Args:
        kind: What is asked.
        report: From `empty_report`, or of the steps before.
        index: The step.
        drawn: Whether the step draws its token, [B]; else it is the prompt's.
        below: The logits minus the largest of each row, [B, V].
        total: The logarithm of the sum of their exponentials, [B].
    """
    if kind == "likeliest":
        logprobs, ids = tf.math.top_k(below - total[:, None], report[0].shape[-1])
        found = (tf.cast(ids, tf.int32), logprobs)
        return [
            tf.tensor_scatter_nd_update(kept, [[index]], new[None])
            for kept, new in zip(report, found, strict=True)
        ]
    if kind == "distribution":
        kept, is_known = report
        is_first = drawn & ~is_known
        return [tf.where(is_first[:, None], below, kept), is_known | drawn]
    return []


def results_of_report(kind: Report | None, report: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
    """What of a report a call returns.

    Returns:
        The ids of the likeliest tokens, most likely first, [steps, B, K] int32, and their
        log-probabilities [steps, B, K]; or the logits minus the largest [B, V]; or nothing.
    """
    return report[:1] if kind == "distribution" else report
