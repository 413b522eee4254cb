"""Against definitions written out, and on scenes whose answer is known."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA

from mmdino.functional.dense import (binned_descriptors, box_iou, lost_box,
                                     mutual_nearest, principal_components)


def test_principal_components_are_those_of_scikit_learn():
    features = torch.randn(200, 8) @ torch.randn(8, 8) + 3
    ours = principal_components(features, 3)
    theirs = PCA(3).fit(features.numpy())
    for axis, other in zip(ours.axes, theirs.components_):
        assert abs(axis.numpy() @ other) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(
        ours.share, theirs.explained_variance_ratio_, rtol=1e-4)
    assert (ours.axes.gather(1,
                             ours.axes.abs().argmax(1, keepdim=True))
            > 0).all()
    projected = ours.project(features.double())
    np.testing.assert_allclose(
        projected.abs(),
        np.abs(theirs.transform(features.numpy())),
        rtol=1e-3,
        atol=1e-4)


def test_too_few_features_for_components():
    with pytest.raises(ValueError, match='need more than 3 features'):
        principal_components(torch.randn(3, 8))
    with pytest.raises(ValueError, match='got .9, 2.'):
        principal_components(torch.randn(9, 2))


def test_mutual_nearest_finds_a_permutation():
    features = F.normalize(torch.randn(30, 16), dim=1)
    order = torch.randperm(30)
    pairs, alike = mutual_nearest(features, 2 * features[order])
    assert sorted(pairs[:, 0].tolist()) == [*range(30)]
    assert torch.equal(order[pairs[:, 1]], pairs[:, 0])
    torch.testing.assert_close(alike, torch.ones(30))


def test_mutual_nearest_by_definition():
    first, second = torch.randn(20, 4), torch.randn(15, 4)
    pairs, alike = mutual_nearest(first, second)
    matrix = F.cosine_similarity(first[:, None], second[None], dim=2)
    expected = {(i, j)
                for i in range(20)
                for j in range(15)
                if matrix[i].argmax() == j and matrix[:, j].argmax() == i}
    assert {*map(tuple, pairs.tolist())} == expected
    torch.testing.assert_close(alike, matrix[pairs[:, 0], pairs[:, 1]])
    assert (alike.diff() <= 0).all()


def test_binned_descriptors_by_definition():
    maps = torch.randn(2, 11, 9)
    found = binned_descriptors(maps)
    assert found.shape == (17 * 2, 11, 9)
    y, x = 5, 4  # far from the border
    near = [
        maps[:, y + a, x + b] for a in (-1, 0, 1) for b in (-1, 0, 1)
        if (a, b) != (0, 0)
    ]
    far = [
        maps[:, y + a - 1:y + a + 2, x + b - 1:x + b + 2].mean((1, 2))
        for a in (-3, 0, 3) for b in (-3, 0, 3) if (a, b) != (0, 0)
    ]
    torch.testing.assert_close(found[:, y, x],
                               torch.cat([maps[:, y, x], *near, *far]))
    constant = binned_descriptors(torch.ones(1, 3, 3))
    torch.testing.assert_close(constant, torch.ones(17, 3, 3))


@pytest.mark.parametrize('box', [(2, 3, 6, 8), (0, 0, 2, 2), (7, 1, 10, 11)])
def test_lost_finds_what_differs_from_the_ground(box):
    """Patches of the object are alike, and unlike the ground's."""
    height, width = 10, 12
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[box[0]:box[2], box[1]:box[3]] = True
    features = .05 * torch.randn(height, width, 8)
    features[..., 0] += torch.where(mask, 1., -1.)
    assert lost_box(features.flatten(0, 1), (height, width)) == box


def test_lost_takes_the_part_with_the_seed():
    """Of two objects that are alike, only one."""
    features = .01 * torch.randn(8, 20, 4)
    features[..., 0] -= 1
    features[2:5, 2:5, 0] += 2
    features[2:6, 12:16, 0] += 2
    box = lost_box(features.flatten(0, 1), (8, 20))
    assert box in [(2, 2, 5, 5), (2, 12, 6, 16)]


def test_box_iou():
    np.testing.assert_allclose(
        box_iou((0, 0, 2, 2), [(0, 0, 2, 2), (1, 1, 3, 3), (2, 2, 4, 4)]),
        [1, 1 / 7, 0])
