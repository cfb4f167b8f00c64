"""From logits to one token per row: temperature, then top-k, then top-p, then one draw.

Each row has its own parameters, passed as arrays, so another temperature compiles nothing. A row's
draw depends on that row alone.
"""

import tensorflow as tf

#: Bits of a non-negative float32 below its sign.
KEY_BITS = 31
#: Vocabularies up to this size are searched in one level, larger ones in two.
ONE_LEVEL = 256
#: The most entries in a block of a larger vocabulary, whose size is a multiple of a power of two.
MAX_BLOCK_WIDTH = 64


def draw(
    below: tf.Tensor,
    uniform: tf.Tensor,
    inverse_temperature: tf.Tensor,
    top_k: tf.Tensor | None,
    top_p: tf.Tensor | None,
    *,
    by_sorting: bool = False,
) -> tf.Tensor:
    """Draw one token for each row.

    Args:
        below: [B, V], the logits minus a constant per row, so that the largest is at most 0 and
            not far below it. Entries of minus infinity (padding) are never drawn.
        uniform: [B], strictly between 0 and 1: one random number per row.
        inverse_temperature: [B], finite and above 0. A huge value leaves only the largest logit;
            with the smallest uniform number, the first of several. That is argmax.
        top_k: [B] int32 from 1, or None when no row has `top_k` or `top_p`.
        top_p: [B] above 0; 1 or more keeps everything.
        by_sorting: Sort each row to find what is kept. A GPU sorts faster than it passes over the
            rows 31 times, each time in a kernel of its own; a CPU does not.

    Returns:
        The drawn entries, [B] int32.
    """
    if top_k is not None and top_p is not None:
        # A repetition penalty may have lowered the largest.
        below = below - tf.reduce_max(below, -1, keepdims=True)
    mass = tf.exp(below * inverse_temperature[:, None])
    if top_k is not None and top_p is not None:
        if by_sorting:
            mass = _keep_likeliest_sorted(-below, mass, inverse_temperature, top_k, top_p)
        else:
            mass = _keep_likeliest(-below, mass, top_k, top_p)
    chosen = _find(mass, uniform)
    # Sums in different orders can, once in millions of draws, select an entry without mass.
    hit = tf.gather(mass, chosen, axis=1, batch_dims=1) > 0
    return tf.where(hit, chosen, tf.argmax(mass, -1, tf.int32))


def _keep_likeliest(
    distance: tf.Tensor, mass: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor
) -> tf.Tensor:
    """Keep the mass of the `top_k` likeliest entries, and of these the fewest that hold `top_p`.

    Entries as likely as the last one kept are kept too. The likeliest entry is always kept.
    """
    # The bits of non-negative floats sort like the floats, so a threshold is found bit by bit in 31
    # passes over the row. Sorting 4,608 logits costs five times as much.
    key = tf.bitcast(tf.abs(distance), tf.int32)
    bound = _largest_threshold(key, tf.ones_like(key), top_k)
    mass = tf.where(key <= bound[:, None], mass, 0.0)
    bound = _largest_threshold(key, mass, top_p * tf.reduce_sum(mass, -1))
    nucleus = tf.where(key <= bound[:, None], mass, 0.0)
    return tf.where(top_p[:, None] < 1.0, nucleus, mass)


def _keep_likeliest_sorted(
    distance: tf.Tensor,
    mass: tf.Tensor,
    inverse_temperature: tf.Tensor,
    top_k: tf.Tensor,
    top_p: tf.Tensor,
) -> tf.Tensor:
    """As `_keep_likeliest`, by one sort of each row."""
    order = tf.sort(distance, -1)
    last = tf.minimum(top_k, order.shape[-1]) - 1
    bound = tf.gather(order, last, axis=1, batch_dims=1)[:, None]
    mass = tf.where(distance <= bound, mass, 0.0)
    ordered = tf.where(order <= bound, tf.exp(-order * inverse_temperature[:, None]), 0.0)
    sums = tf.cumsum(ordered, -1)
    nucleus = _passed(sums, top_p * sums[:, -1], reached=True)
    bound = tf.gather(order, nucleus, axis=1, batch_dims=1)[:, None]
    return tf.where(top_p[:, None] < 1.0, tf.where(distance <= bound, mass, 0.0), mass)


def _largest_threshold(key: tf.Tensor, weight: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
    """The largest t [B] such that the weights [B, V] of keys below t sum to less than `limit`."""

    def try_bit(bit: tf.Tensor, threshold: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        candidate = threshold | tf.bitwise.left_shift(1, bit)
        below = tf.where(key < candidate[:, None], weight, tf.zeros_like(weight))
        return bit - 1, tf.where(tf.reduce_sum(below, -1) < limit, candidate, threshold)

    start = (tf.constant(KEY_BITS - 1), tf.zeros_like(key[:, 0]))
    return tf.while_loop(lambda bit, _: bit >= 0, try_bit, start)[1]


def _find(mass: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """The entry [B] at which the running sum of mass [B, V] exceeds `uniform` times the total."""
    rows, size = mass.shape
    if size <= ONE_LEVEL:
        sums = tf.cumsum(mass, -1)
        return _passed(sums, uniform * sums[:, -1])
    width = min(MAX_BLOCK_WIDTH, size & -size)
    pieces = tf.reshape(mass, [rows, size // width, width])
    totals = tf.reduce_sum(pieces, -1)
    sums = tf.cumsum(totals, -1)
    target = uniform * sums[:, -1]
    piece = _passed(sums, target)
    inside = tf.cumsum(tf.gather(pieces, piece, axis=1, batch_dims=1), -1)
    left = target - tf.gather(sums - totals, piece, axis=1, batch_dims=1)
    return piece * width + _passed(inside, left)


def _passed(sums: tf.Tensor, target: tf.Tensor, *, reached: bool = False) -> tf.Tensor:
    """The first entry [B] at which running sums exceed a target, or have `reached` it."""
    before = sums < target[:, None] if reached else sums <= target[:, None]
    count = tf.reduce_sum(tf.cast(before, tf.int32), -1)
    return tf.minimum(count, sums.shape[-1] - 1)
