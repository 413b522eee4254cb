import numpy as np
import pytest
import torch

from mmdino.models import BlockMasking, RandomMasking
from mmdino.registry import MODELS
from mmdino.utils.randomness import seed_all
from tests import golden

DATA = golden.load(golden.files('v2_masks.npz', golden.GOLDEN_V2)[0])


def build(name, **kwargs):
    return MODELS.build(dict(type=f'mmdino.{name}', **kwargs))


def test_statistics_of_the_authors():
    grid, images = int(DATA['grid']), int(DATA['images'])
    masking = BlockMasking(float(DATA['probability']), DATA['ratio'].tolist())
    batches = int(DATA['batches'])
    masks = torch.stack(
        [masking(2 * images, (grid, grid)) for _ in range(batches)])
    assert masks.shape[2] == DATA['example'].shape[1]
    counts = masks.sum(2).sort(1).values.double().numpy()
    # Both are means of so many batches: five deviations of the difference.
    spread = counts.std(0, ddof=1)
    error = np.sqrt(
        (spread**2 + DATA['masked_per_crop_sorted_std']**2) / batches)
    assert (abs(counts.mean(0) - DATA['masked_per_crop_sorted_mean'])
            <= 5 * error).all()
    np.testing.assert_allclose(
        spread, DATA['masked_per_crop_sorted_std'], rtol=.35, atol=.1)
    total = counts.sum(1)
    assert abs(total.mean() -
               DATA['total_mean']) < 5 * DATA['total_std'] * (2 / batches)**.5
    assert .7 < total.std() / DATA['total_std'] < 1.4


def components(mask):
    """Sizes of a mask's parts, patches side by side being of one."""
    left, sizes = {tuple(p) for p in mask.nonzero().tolist()}, []
    while left:
        todo, size = [left.pop()], 0
        while todo:
            y, x = todo.pop()
            size += 1
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
            left -= near
            todo += near
        sizes.append(size)
    return sizes


def test_blocks_are_clumps_and_single_patches_are_not():
    grid = (14, 14)
    blocks = build('BlockMasking')(200, grid)
    single = build('RandomMasking')(200, grid)
    sizes = [[
        np.mean(components(mask.view(grid))) for mask in masks if mask.any()
    ] for masks in (blocks, single)]
    assert np.mean(sizes[0]) > 3 * np.mean(sizes[1])
    # The corners and edges are masked, too.
    per_patch = blocks.float().mean(0).view(grid)
    assert per_patch.min() > 0 and per_patch.max() < .3


@pytest.mark.parametrize('num_images', [1, 2, 7, 64])
@pytest.mark.parametrize('probability', [0., .3, .5, 1.])
@pytest.mark.parametrize('name', ['BlockMasking', 'RandomMasking'])
def test_targets_by_strata(name, probability, num_images):
    low, high, patches = .1, .5, 1000
    masking = build(
        name, probability=probability, ratio=(low, high), stratified=True)
    targets = masking.draw_targets(num_images, patches)
    assert targets.shape == (num_images, )
    n = int(num_images * probability)
    masked = targets[targets > 0].sort().values
    assert len(masked) == n
    edges = torch.linspace(low, high, n + 1, dtype=torch.float64) * patches
    assert (masked >= edges[:-1].long()).all()
    assert (masked <= edges[1:]).all()


def test_targets_are_shuffled():
    masking = build('BlockMasking')
    targets = torch.stack([masking.draw_targets(8, 196) for _ in range(600)])
    shares = (targets > 0).float().mean(0)
    assert (shares - .5).abs().max() < .12
    means = targets.float().mean(0)
    assert (means / means.mean() - 1).abs().max() < .25


def test_targets_of_crops_by_themselves():
    masking = build('RandomMasking', probability=.3, ratio=(.2, .4))
    targets = masking.draw_targets(4000, 1000)
    masked = targets[targets > 0]
    assert abs(len(masked) / 4000 - .3) < .04
    assert 200 <= masked.min() < 205 and 395 < masked.max() <= 400
    assert abs(masked.float().mean() - 300) < 8
    counts = masking(300, (10, 20)).sum(1)
    assert 70 < (counts > 0).sum() < 110
    assert not ((counts > 0) & (counts < 40)).any() and counts.max() <= 80


@pytest.mark.parametrize('grid', [(14, 14), (7, 7), (4, 4), (2, 2), (1, 1),
                                  (1, 9), (9, 1), (2, 30), (6, 14), (37, 37)])
@pytest.mark.parametrize('name', ['BlockMasking', 'RandomMasking'])
def test_never_more_than_the_target(name, grid):
    masking = build(name, stratified=True)
    targets = torch.arange(grid[0] * grid[1])[:64]
    masks = masking.draw_masks(targets, grid)
    counts = masks.flatten(1).sum(1)
    assert masks.shape == (len(targets), *grid) and masks.dtype == torch.bool
    if name == 'RandomMasking':
        assert counts.equal(targets)
        return
    assert (counts <= targets).all()
    if min(grid) > 6:
        assert (counts >= .8 * targets - 3).all()
    elif min(grid) == 1:  # no rectangle is smaller than the grid
        assert not counts.any()


class Seen(BlockMasking):
    """Remembers what it drew."""

    def _draw_block(self, mask, limit, rng):
        block = super()._draw_block(mask, limit, rng)
        self.drawn.append((limit, block.shape, block.copy()))
        return block


@pytest.mark.parametrize('grid', [(14, 14), (6, 20)])
def test_rectangles(grid):
    masking = Seen(ratio=(.1, .9), max_share=.2)
    h, w = grid
    for target in range(1, h * w, 3):
        masking.drawn = []
        mask = masking.draw_masks(torch.tensor([target]), grid)[0]
        left, fails, most = target, 0, .2 * mask.numel()
        for limit, shape, before in masking.drawn:
            assert fails < 10 and left > 0 and limit == min(left, most)
            new = before.size - before.sum()
            taken = 0 < new <= limit
            left, fails = (left - new, 0) if taken else (left, fails + 1)
            if shape[0]:
                assert shape[0] < h and shape[1] < w
                # Sides are rounded, by half a patch each.
                assert (shape[0] - .5) / (shape[1] + .5) <= 1 / .3
                assert (shape[0] + .5) / (shape[1] - .5) >= .3
                least, largest = sorted((4, limit))
                area, sides = shape[0] * shape[1], sum(shape)
                assert least - sides <= area <= largest + sides
        assert mask.sum() == target - left
        assert left == 0 or fails == 10


def test_drawn_from_the_seed_that_the_loop_sets():
    for name in ('BlockMasking', 'RandomMasking'):
        masking = build(name)
        drawn = []
        for key in ((0, 0, 3), (0, 0, 3), (0, 1, 3), (0, 0, 4), (1, 0, 3)):
            seed_all(*key)
            torch.manual_seed(torch.initial_seed())
            np.random.seed(5)  # no other generator has a say
            drawn.append(masking(32, (14, 14)))
        assert drawn[0].equal(drawn[1])
        assert not any(drawn[0].equal(other) for other in drawn[2:])
        again = masking(32, (14, 14))
        assert not again.equal(drawn[-1])  # the stream goes on


def test_shape_and_device():
    masks = build('BlockMasking')(6, (4, 7), torch.device('cpu'))
    assert masks.shape == (6, 28) and masks.dtype == torch.bool
    with torch.device('meta'):  # a default device is not drawn on
        assert build('RandomMasking')(6, (4, 7)).device.type == 'cpu'
        assert build('BlockMasking')(6, (4, 7)).device.type == 'cpu'
    assert build('BlockMasking')(6, (4, 7), 'meta').is_meta
    assert not list(build('BlockMasking').state_dict())


@pytest.mark.parametrize('kwargs, message', [
    (dict(probability=1.1), r'probability must be in \[0, 1\], got 1.1'),
    (dict(ratio=(.5, .1)), r'ratio must be two rising .*got \(0.5, 0.1\)'),
    (dict(ratio=(.5, )), 'ratio must be two'),
    (dict(ratio=(.1, 2)), r'shares in \[0, 1\], got'),
    (dict(max_share=0), r'max_share must be in \(0, 1\], got 0'),
    (dict(min_aspect=3.), r'min_aspect must be in \(0, 1\], got 3.0'),
])
def test_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        BlockMasking(**kwargs)
    with pytest.raises((ValueError, TypeError)):
        RandomMasking(**kwargs)
