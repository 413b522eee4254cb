import pytest
import torch

from mmdino.functional.attention import attention_jaccard, mass_threshold

# Rising .1 .2 .3 .4 with running sums .1 .3 .6 1: at mass .6 the patches past
# .4 are .3 and .4; at mass .3 only .4 is past .7.
ATTENTION = torch.tensor([[[.4, .1], [.2, .3]]])


@pytest.mark.parametrize('mass,kept', [
    (.3, [[True, False], [False, False]]),
    (.6, [[True, False], [False, True]]),
    (.8, [[True, False], [True, True]]),
    (1., [[True, True], [True, True]]),
])
def test_mass_threshold_by_hand(mass, kept):
    assert mass_threshold(ATTENTION, mass).tolist() == [kept]
    assert mass_threshold(7 * ATTENTION, mass).tolist() == [kept]


def test_mass_threshold_equals_the_authors_steps():
    attention = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(0))
    value, order = torch.sort(attention.flatten(1).double())
    value /= value.sum(dim=1, keepdim=True)
    kept = value.cumsum(dim=1) > 1 - 0.6
    back = torch.argsort(order)
    for head in range(3):
        kept[head] = kept[head][back[head]]
    assert mass_threshold(attention).equal(kept.view(3, 5, 4))


def test_equal_patches_are_cut_in_a_fixed_order():
    kept = mass_threshold(torch.ones(1, 2, 5), .5)
    assert kept.tolist() == [[[False] * 5, [True] * 5]]


def test_jaccard_by_hand():
    """Heads keep the left and the upper half of a 4 x 4 mask.

    Object 1 is the upper left quarter (4 pixels): each half holds it and 4
    more, 4 / 8. Object 2 is the lower row (4 pixels): the left half shares 2
    of 8 + 4 - 2, the upper half nothing.
    """
    left = [[1., 0.], [1., 0.]]
    upper = [[1., 1.], [0., 0.]]
    mask = torch.zeros(4, 4, dtype=torch.uint8)
    mask[:2, :2] = 1
    mask[3] = 2
    index = attention_jaccard(torch.tensor([left, upper]), mask)
    assert index.tolist() == pytest.approx([4 / 8, 2 / 10])


def test_ignored_pixels_count_nowhere():
    left = torch.tensor([[[1., 0.], [1., 0.]]])
    mask = torch.zeros(4, 4, dtype=torch.uint8)
    mask[:2, :2] = 1
    mask[2:, :2] = 255
    assert attention_jaccard(left, mask).tolist() == [1.]
    assert attention_jaccard(left, mask, ignore_index=-1).tolist() == [.5, .5]


def test_masks_need_not_be_multiples_of_the_grid():
    attention = torch.rand(2, 3, 5)
    mask = torch.ones(31, 17, dtype=torch.long)
    assert 0 < attention_jaccard(attention, mask).item() < 1


def test_a_mask_without_object_gives_nothing():
    mask = torch.tensor([[0, 255], [0, 0]])
    assert attention_jaccard(torch.rand(2, 1, 1), mask).shape == (0, )


def test_errors():
    with pytest.raises(ValueError, match='got 1.5'):
        mass_threshold(ATTENTION, 1.5)
    with pytest.raises(ValueError, match=r'got \(2, 2\) and \(4, 4\)'):
        attention_jaccard(ATTENTION[0], torch.ones(4, 4))
