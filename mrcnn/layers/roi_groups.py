"""RoIs that need the same number of values per bin, computed together."""

import tensorflow as tf


def in_order(parts, order):
    """Concatenate `parts`, and return their rows sorted by `order`.

    Args:
        parts: a list of tensors `[n_i, ...]`.
        order: a list of int32 `[n_i]`, all together a permutation: the place of each row.
    """
    # Rows are sorted by part; gathering by `places` restores their order. The scatter inverts the
    # permutation, as LiteRT has no tf.math.invert_permutation.
    order = tf.concat(order, axis=0)
    count = tf.size(order)
    places = tf.scatter_nd(order[:, None], tf.range(count), [count])
    return tf.gather(tf.concat(parts, axis=0), places)


def by_count(counts, compute, dtypes):
    """Compute something of all RoIs, those with the same counts together.

    Args:
        counts: int32 `[n, (rows, columns)]`, at least 1.
        compute: function from `chosen`, int32 `[m]`, the RoIs of one group, and their counts, int32
            `[(rows, columns)]`, to a list of tensors `[any number, ...]`.
        dtypes: of these tensors.

    Returns:
        The tensors of all groups, concatenated, and int32 `[n]`, the RoIs in the order of groups.
    """
    _, group = tf.unique(counts[:, 0] * (tf.reduce_max(counts[:, 1]) + 1) + counts[:, 1])
    # Without RoIs there is a turn too, as TensorFlow cannot concatenate nothing.
    num_groups = tf.reduce_max(tf.concat([group + 1, [1]], axis=0))
    arrays = [tf.TensorArray(dtype, num_groups, infer_shape=False) for dtype in (tf.int32, *dtypes)]

    def turn(i, *arrays):
        chosen = tf.cast(tf.where(tf.equal(group, i))[:, 0], tf.int32)
        count = tf.reduce_max(tf.concat([tf.gather(counts, chosen), [[1, 1]]], axis=0), axis=0)
        results = [chosen, *compute(chosen, count)]
        return i + 1, *(array.write(i, x) for array, x in zip(arrays, results, strict=True))

    _, *arrays = tf.while_loop(lambda i, *_: i < num_groups, turn, [0, *arrays])
    order, *results = (array.concat() for array in arrays)
    return results, order
