"""The random numbers of `rng.py`, made by the device that draws with them, bit for bit.

Philox4x64-10 in integers of 64 bits: `Salmon et al. (2011)`_, with the constants of Random123,
which NumPy's generator has too. A host would have to make and upload [steps, B] numbers a call.

.. _Salmon et al. (2011): "Parallel random numbers: as easy as 1, 2, 3", SC'11
"""

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from worker.ml.sampling.rng import DRAW_STREAM, UNIFORM_BITS, WORDS_PER_COUNTER

ROUNDS = 10
#: What the first and the third word of a counter are multiplied by in each round.
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
#: What is added to the words of the key after each round (the Weyl sequence).
KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_LOW = 0xFFFF_FFFF

#: For each row the seed, then the position of the first number, as low and high halves: [B, 4].
Streams = npt.NDArray[np.int32]


def pack_streams(seeds: npt.NDArray[np.uint64], positions: npt.NDArray[np.int64]) -> Streams:
    """The argument of `device_uniforms`: [B, 4] for seeds [B] and positions [B].

    Halves of 32 bits, because a kernel for each device has arguments of that type.
    """
    both = np.stack([seeds.astype("<u8"), positions.astype("<i8").view("<u8")], -1)
    return np.ascontiguousarray(both).view("<i4").astype(np.int32)


def device_uniforms(streams: tf.Tensor, count: int) -> tf.Tensor:
    """The next `count` uniform numbers of each row's stream, [count, B] float32.

    Args:
        streams: [B, 4] int32, from `pack_streams`. At positions below 0 the numbers are uniform
            too, but belong to no text.
        count: How many.
    """
    halves = tf.bitcast(streams, tf.uint32)
    low, high = tf.cast(halves[:, ::2], tf.uint64), tf.cast(halves[:, 1::2], tf.uint64)
    words = low | tf.bitwise.left_shift(high, _u64(32))
    position = words[:, 1] + tf.cast(tf.range(count), tf.uint64)[:, None]
    seed = words[:, 0] + tf.zeros_like(position)
    # Four positions share a counter. NumPy counts up before it generates, so the first is 1.
    shift = WORDS_PER_COUNTER.bit_length() - 1
    counter = tf.bitwise.right_shift(position, _u64(shift)) + _u64(1)
    lane = position & _u64(WORDS_PER_COUNTER - 1)
    made = _philox(counter, seed)
    word = made[-1]
    for number in reversed(range(WORDS_PER_COUNTER - 1)):
        word = tf.where(lane == _u64(number), made[number], word)
    steps = tf.cast(tf.bitwise.right_shift(word, _u64(64 - UNIFORM_BITS)), tf.int32)
    return (tf.cast(steps, tf.float32) + 0.5) * 2.0**-UNIFORM_BITS


def _philox(counter: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
    """The four words of a counter (its upper words are 0) under the key (seed, "draw")."""
    zero = tf.zeros_like(counter)
    words = [counter, zero, zero, zero]
    key = [seed, zero + _u64(DRAW_STREAM)]
    for _ in range(ROUNDS):
        first_high, first_low = _multiply(words[0], MULTIPLIERS[0])
        third_high, third_low = _multiply(words[2], MULTIPLIERS[1])
        words = [
            third_high ^ words[1] ^ key[0],
            third_low,
            first_high ^ words[3] ^ key[1],
            first_low,
        ]
        key = [each + _u64(step) for each, step in zip(key, KEY_STEPS, strict=True)]
    return words


def _multiply(word: tf.Tensor, by: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The upper and the lower 64 bits of a product of 64 by 64 bits, by halves of 32."""
    low, high = word & _u64(_LOW), tf.bitwise.right_shift(word, _u64(32))
    by_low, by_high = _u64(by & _LOW), _u64(by >> 32)
    cross = low * by_high
    # At most (2^32 - 1)^2 + 2 (2^32 - 1), which is 2^64 - 1: no carry is lost.
    middle = tf.bitwise.right_shift(low * by_low, _u64(32)) + (cross & _u64(_LOW)) + high * by_low
    upper = high * by_high + tf.bitwise.right_shift(cross, _u64(32))
    return upper + tf.bitwise.right_shift(middle, _u64(32)), word * _u64(by)


def _u64(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint64)
