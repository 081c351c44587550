import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.layers.batch_part import batch_part, draw_noise

SEED = tf.constant([5, 7], tf.int64)


def noise_of(index, count, images=2, seed=SEED):
    with batch_part(seed, index, count):
        return draw_noise((images, 3, 4), None).numpy()


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_parts_of_a_batch_have_the_numbers_of_the_whole(parts):
    whole = noise_of(0, 1, images=6)
    pieces = [noise_of(index, parts, images=6 // parts) for index in range(parts)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    # Each image has its own.
    assert len(np.unique(whole)) == whole.size


def test_the_index_may_be_a_tensor_of_a_graph():
    @tf.function
    def draw(seed, index, shape):
        with batch_part(seed, index, 3):
            return draw_noise(shape, None)

    drawn = [draw(SEED, tf.constant(i), tf.constant([2, 3, 4])).numpy() for i in range(3)]
    np.testing.assert_array_equal(np.concatenate(drawn), noise_of(0, 1, images=6))


@pytest.mark.parametrize("seed", [[5, 8], [6, 7]])
def test_both_numbers_of_the_seed_count(seed):
    other = noise_of(0, 1, seed=tf.constant(seed, tf.int64))
    assert not np.isin(other, noise_of(0, 1)).any()


def test_numbers_are_spread_from_0_to_1():
    noise = noise_of(0, 1, images=1000)
    assert 0 <= noise.min() < 0.001
    assert 0.999 < noise.max() < 1
    # The standard deviation of such a mean of 12000 is 0.29 / sqrt(12000) = 0.0026.
    assert noise.mean() == pytest.approx(0.5, abs=0.012)


def test_generator_of_the_layer_draws_outside_of_a_part():
    drawn = [draw_noise((2, 3), keras.random.SeedGenerator(seed)).numpy() for seed in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).all()
    generator = keras.random.SeedGenerator(1)
    assert (draw_noise((2, 3), generator).numpy() != draw_noise((2, 3), generator).numpy()).all()


def test_parts_within_parts_and_after_an_error():
    outer, inner = noise_of(1, 4), noise_of(2, 3)
    with batch_part(SEED, 1, 4):
        np.testing.assert_array_equal(noise_of(2, 3), inner)
        with pytest.raises(KeyError), batch_part(SEED, 0, 1):
            raise KeyError
        np.testing.assert_array_equal(draw_noise((2, 3, 4), None), outer)
    # Without a part a generator is needed again.
    generators = [keras.random.SeedGenerator(3) for _ in range(2)]
    with pytest.raises(KeyError), batch_part(SEED, 0, 1):
        raise KeyError
    outside = [draw_noise((2, 3, 4), generator).numpy() for generator in generators]
    np.testing.assert_array_equal(*outside)


def test_every_thread_has_its_own_part():
    drawn, inside = {}, threading.Barrier(2, timeout=10)

    def draw(index):
        with batch_part(SEED, index, 2):
            # Both are in their part before either of them draws.
            inside.wait()
            drawn[index] = draw_noise((2, 3, 4), None).numpy()
            inside.wait()

    threads = [threading.Thread(target=draw, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = noise_of(0, 1, images=4)
    np.testing.assert_array_equal(np.concatenate([drawn[0], drawn[1]]), whole)
