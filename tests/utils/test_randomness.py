"""Random numbers of samples and of iterations."""
import random

import numpy as np
import pytest
import torch

from mmdino.utils.randomness import seed_all, seeded


def draw():
    return (random.random(), np.random.rand(),
            torch.rand(1, dtype=torch.float64).item())


def of_sample(*key):
    with seeded(*key):
        return draw()


def of_iteration(*key):
    seed_all(*key)
    return draw()


def test_samples_are_those_of_the_recorded_figures():
    assert of_sample(3, 7, 11) == (0.8019117826826535, 0.36815238735233147,
                                   0.08293962207698147)


@pytest.mark.parametrize('key', [(0, 0, 0), (3, 7, 11), (5, 0, 2**40)])
def test_iterations_and_samples_of_one_key_differ(key):
    with seeded(0):  # gives the states back
        iteration = of_iteration(*key)
        assert iteration == of_iteration(*key)
        assert not set(iteration) & set(of_sample(*key))


def test_states_are_given_back():
    seed_all(1)
    wanted = draw()
    seed_all(1)
    of_sample(3, 7, 11)
    assert draw() == wanted
