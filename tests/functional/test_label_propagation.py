import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mmdino.functional.davis import score_sequence
from mmdino.functional.label_propagation import (labels_to_mask,
                                                 mask_to_labels,
                                                 propagate_labels)
from tests.davis_tree import moving_square


def unit(*shape):
    return F.normalize(torch.randn(*shape), dim=-1)


def dense(target, sources, labels, radius, topk, temperature):
    """All pairs at once, in float64, as the authors' code forms them."""
    h, w, _ = target.shape
    place = torch.cartesian_prod(torch.arange(h), torch.arange(w))
    offset = (place[:, None] - place).abs().amax(-1)  # (targets, sources)
    affinity = (target.double().flatten(0, 1) @ sources.double().flatten(
        1, 2).transpose(1, 2) / temperature).exp() * (
            offset <= radius)
    affinity = affinity.transpose(0, 1).flatten(1)  # (targets, S sources)
    kept = min(topk, affinity.shape[1])
    affinity[affinity < affinity.topk(kept, dim=1)[0][:, -1:]] = 0
    affinity /= affinity.sum(dim=1, keepdim=True)
    flat = labels.double().transpose(0, 1).flatten(1)
    return (flat @ affinity.t()).unflatten(1, (h, w))


@pytest.mark.parametrize(
    'grid, num_sources, radius, topk, temperature',
    [
        ((26, 17), 3, 12, 5, .1),  # the paper's, over several tiles
        ((25, 14), 2, 3, 5, .1),
        ((7, 5), 8, 12, 5, .1),  # everything is near
        ((13, 13), 1, 1, 1, .07),
        ((3, 2), 1, 0, 5, .1),  # fewer sources than topk
    ])
def test_equals_all_pairs_in_float64(grid, num_sources, radius, topk,
                                     temperature):
    target, sources = unit(*grid, 16), unit(num_sources, *grid, 16)
    labels = torch.rand(num_sources, 4, *grid).softmax(dim=1)
    settings = radius, topk, temperature
    got = propagate_labels(target, sources, labels, *settings)
    assert got.dtype == torch.float32 and got.shape == (4, *grid)
    wanted = dense(target, sources, labels, *settings)
    torch.testing.assert_close(got.double(), wanted, rtol=0, atol=2e-6)
    assert got.sum(dim=0).allclose(torch.ones(grid))


def test_by_hand():
    """Of three sources in a row the last is out of reach of the first."""
    target = torch.tensor([[[1., 0.], [1., 0.], [1., 0.]]])
    sources = torch.tensor([[[[.6, .8], [.8, .6], [1., 0.]]]])
    labels = torch.tensor([[[[1., 0., 0.]], [[0., 1., 1.]]]])
    got = propagate_labels(target, sources, labels, 1, 2, .2)
    first = 1 / (1 + np.exp(1))  # exp(.6 / .2) of exp(.6 / .2) + exp(.8 / .2)
    assert got[0, 0].tolist() == pytest.approx([first, 0, 0])
    assert got[1, 0].tolist() == pytest.approx([1 - first, 1, 1])


def test_nothing_beyond_the_radius_is_found():
    features = unit(1, 40, 8)
    labels = torch.zeros(1, 2, 1, 40)
    labels[0, 1, 0, 10] = 1
    for step, found in ((12, True), (13, False)):
        moved = features.roll(step, dims=1)
        got = propagate_labels(moved, features[None], labels, topk=1)
        assert bool(got[1, 0, 10 + step]) == found


@pytest.mark.parametrize('size, grid', [((480, 854), (60, 104)),
                                        ((480, 854), (30, 52)),
                                        ((61, 37), (7, 4))])
def test_patches_take_the_pixel_that_pillow_takes(size, grid):
    mask = np.random.default_rng(0).integers(0, 3, size, np.uint8)
    wanted = np.array(Image.fromarray(mask).resize(grid[::-1], 0))
    labels = mask_to_labels(torch.from_numpy(mask), grid, 4)
    assert labels.shape == (5, *grid) and (labels.sum(dim=0) == 1).all()
    assert labels.argmax(dim=0).equal(torch.from_numpy(wanted).long())


def authors_mask(labels, patch, size):
    """Their upsampling, norm_mask, argmax and Pillow's resizing."""
    maps = F.interpolate(
        labels[None],
        scale_factor=patch,
        mode='bilinear',
        align_corners=False,
        recompute_scale_factor=False)[0]
    for channel in maps:
        if channel.max() > 0:
            channel -= channel.min().clone()
            channel /= channel.max().clone()
    winner = maps.argmax(dim=0).byte().numpy()
    return np.array(Image.fromarray(winner).resize(size[::-1], 0))


@pytest.mark.parametrize('size', [(101, 171), (60, 90), (96, 182)])
def test_masks_are_the_authors(size):
    labels = torch.rand(3, 12, 20).softmax(dim=0)
    got = labels_to_mask(labels, (96, 160), size)
    assert got.dtype == torch.uint8
    assert (got.numpy() == authors_mask(labels, 8, size)).all()


def test_lost_objects_leave_the_background():
    """Stretching a constant map, as the authors do, divides by zero."""
    labels = torch.zeros(3, 4, 5)
    labels[0] = 1
    assert not labels_to_mask(labels, (32, 40), (33, 41)).any()


def patches(image):
    """Raw pixels of 8 px patches, (h, w, 192), centred, of unit length."""
    image = torch.from_numpy(image).float() - 128
    rows = image.unfold(0, 8, 8).unfold(1, 8, 8)
    return F.normalize(rows.flatten(2), dim=-1)


def test_follows_a_moving_square():
    images, masks = moving_square(frames=9)
    features = torch.stack([patches(image) for image in images])
    labels = [mask_to_labels(torch.from_numpy(masks[0]), (12, 20), 1)]
    predicted = [masks[0]]
    for i in range(1, len(images)):
        near = [0, *range(max(1, i - 7), i)]
        labels.append(
            propagate_labels(features[i], features[near],
                             torch.stack([labels[j] for j in near])))
        size = masks.shape[1:]
        predicted.append(labels_to_mask(labels[i], size, size).numpy())
    still = np.repeat(masks[:1], len(masks), axis=0)
    assert score_sequence(still, masks)[0].mean() < .5
    region, contour = score_sequence(np.stack(predicted), masks)
    assert region.min() > .95 and contour.min() > .95
