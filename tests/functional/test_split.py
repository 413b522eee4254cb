from collections import Counter

import pytest

from mmdino.functional.low_shot import balanced_split

LABELS = [i % 3 for i in range(60)] + [3] * 100 + [4] * 2


@pytest.mark.parametrize('fraction', [.01, .1, .5, 1.])
def test_every_class_keeps_its_share(fraction):
    chosen = balanced_split(LABELS, fraction, seed=0)
    assert chosen == sorted(set(chosen))
    count = Counter(LABELS[i] for i in chosen)
    for label, size in Counter(LABELS).items():
        assert count[label] == max(1, round(fraction * size))


def test_the_seed_alone_decides():
    chosen = balanced_split(LABELS, .1, seed=0)
    assert chosen == balanced_split(LABELS, .1, seed=0)
    assert chosen != balanced_split(LABELS, .1, seed=1)
    # NumPy keeps RandomState's stream: these are the same everywhere.
    assert balanced_split([0] * 10, .3, seed=0) == [2, 4, 8]


def test_errors():
    for fraction in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f'fraction.*{fraction}'):
            balanced_split(LABELS, fraction, 0)
