"""From logits to one character per row: temperature, then top-k, then top-p, then one draw.

The rows of a batch have their own numbers, all of them arrays: another temperature compiles
nothing. A row's choice depends on that row alone.
"""

import tensorflow as tf

#: Bits of a non-negative float32 below its sign.
KEY_BITS = 31
#: Vocabularies up to this size are searched in one piece, larger ones in two levels.
ONE_LEVEL = 256
#: Entries in a piece of a larger vocabulary, whose bucket is a multiple of a power of two.
WIDEST_PIECE = 64


def draw(
    below: tf.Tensor,
    uniform: tf.Tensor,
    inverse_temperature: tf.Tensor,
    top_k: tf.Tensor | None,
    top_p: tf.Tensor | None,
) -> tf.Tensor:
    """Choose one entry of each row.

    Args:
        below: [B, V], the logits without a constant of each row, so that the largest is at most 0
            and not far below; entries of minus infinity (padding) are never chosen.
        uniform: [B], strictly between 0 and 1: the one random number of each row.
        inverse_temperature: [B], finite and above 0. A huge one leaves only the largest logit,
            and with the smallest uniform number the first of several: that is argmax.
        top_k: [B] int32 from 1, or None when no row asks for `top_k` or `top_p`.
        top_p: [B] above 0; from 1 on it keeps everything.

    Returns:
        The chosen entries, [B] int32.
    """
    if top_k is not None and top_p is not None:
        # A repetition penalty may have lowered the largest.
        below = below - tf.reduce_max(below, -1, keepdims=True)
    mass = tf.exp(below * inverse_temperature[:, None])
    if top_k is not None and top_p is not None:
        mass = _keep_likeliest(-below, mass, top_k, top_p)
    chosen = _find(mass, uniform)
    # Sums made in different orders can lead, once in millions of draws, to an entry without mass.
    hit = tf.gather(mass, chosen, axis=1, batch_dims=1) > 0
    return tf.where(hit, chosen, tf.argmax(mass, -1, tf.int32))


def _keep_likeliest(
    distance: tf.Tensor, mass: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor
) -> tf.Tensor:
    """Mass of the `top_k` likeliest entries, and of those of the fewest that hold `top_p` of it.

    Entries as likely as the last one kept are kept too. The likeliest one always is.
    """
    # Bits of floats from 0 up sort like the floats: a threshold among them is found bit by bit,
    # which takes 31 passes over the row where a sort of 4,608 logits costs five times as much.
    key = tf.bitcast(tf.abs(distance), tf.int32)
    bound = _largest_threshold(key, tf.ones_like(key), top_k)
    mass = tf.where(key <= bound[:, None], mass, 0.0)
    bound = _largest_threshold(key, mass, top_p * tf.reduce_sum(mass, -1))
    nucleus = tf.where(key <= bound[:, None], mass, 0.0)
    return tf.where(top_p[:, None] < 1.0, nucleus, mass)


def _largest_threshold(key: tf.Tensor, weight: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
    """The largest t [B] for which the weights [B, V] of keys below t sum to less than `limit`."""

    def try_bit(bit: tf.Tensor, threshold: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        candidate = threshold | tf.bitwise.left_shift(1, bit)
        below = tf.where(key < candidate[:, None], weight, tf.zeros_like(weight))
        return bit - 1, tf.where(tf.reduce_sum(below, -1) < limit, candidate, threshold)

    start = (tf.constant(KEY_BITS - 1), tf.zeros_like(key[:, 0]))
    return tf.while_loop(lambda bit, _: bit >= 0, try_bit, start)[1]


def _find(mass: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """The entry [B] at which the running sum of the mass [B, V] passes `uniform` of the whole."""
    rows, size = mass.shape
    if size <= ONE_LEVEL:
        sums = tf.cumsum(mass, -1)
        return _passed(sums, uniform * sums[:, -1])
    width = min(WIDEST_PIECE, size & -size)
    pieces = tf.reshape(mass, [rows, size // width, width])
    totals = tf.reduce_sum(pieces, -1)
    sums = tf.cumsum(totals, -1)
    target = uniform * sums[:, -1]
    piece = _passed(sums, target)
    inside = tf.cumsum(tf.gather(pieces, piece, axis=1, batch_dims=1), -1)
    left = target - tf.gather(sums - totals, piece, axis=1, batch_dims=1)
    return piece * width + _passed(inside, left)


def _passed(sums: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    count = tf.reduce_sum(tf.cast(sums <= target[:, None], tf.int32), -1)
    return tf.minimum(count, sums.shape[-1] - 1)
