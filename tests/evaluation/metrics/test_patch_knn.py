"""k-NN of patches among pictures with masks."""
import pytest
import torch
from mmpretrain.structures import DataSample

from mmdino.evaluation.metrics import PatchKNN
from mmdino.registry import MODELS
from tests.tiny import model_cfg


def sample(mask, noise=0., seed=0):
    """A picture of 32 px, whose patches of 8 px know their class."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(5, 4, 4, generator=generator) * noise
    patches[0] += 1 + 3 * mask[::8, ::8]
    patches[1] += 3 - 3 * mask[::8, ::8]
    return dict(patches=patches, gt_mask=mask, img_path='a.jpg')


def masks(count):
    mask = torch.zeros(count, 32, 32)
    mask[:, :16, :8] = 1
    return mask


def test_features_that_tell_and_those_that_do_not():
    metric = PatchKNN(num_classes=2, k=3)
    for seed, mask in enumerate(masks(4)):
        metric.process(None, [sample(mask, seed=seed)])
    assert metric.evaluate(4) == {'dense/patch_knn': 100.}
    for seed, mask in enumerate(masks(8)):
        patches = torch.randn(
            5, 4, 4, generator=torch.Generator().manual_seed(seed))
        metric.process(None, [dict(sample(mask), patches=patches)])
    # Mean over classes, of which the second has an eighth of the patches.
    assert 25 < metric.evaluate(8)['dense/patch_knn'] < 75


def test_numbers_that_are_no_class_and_what_lacks():
    metric = PatchKNN(num_classes=1, first_class=1, k=3)
    kept, labels = metric.keep(sample(masks(1)[0]))
    assert len(kept) == 2 and not labels.any()
    metric.process(None, [sample(torch.zeros(32, 32)) for _ in range(2)])
    with pytest.raises(ValueError, match='no patch of a class from 1 to 1'):
        metric.evaluate(2)
    with pytest.raises(KeyError, match='predict_patches=True'):
        metric.process(None, [dict(gt_mask=masks(1)[0])])


def test_models_give_patches():
    images = torch.randn(2, 3, 32, 32)
    model = MODELS.build(model_cfg(predict_patches=True))
    model.eval()
    found = model.predict(images, [DataSample(), DataSample()])
    tokens = model.teacher.backbone.tokens(images)
    for row, image in zip(tokens, found):
        assert image.patches.shape == (24, 4, 4)
        torch.testing.assert_close(image.patches.flatten(1).T, row[1:])
    assert 'patches' not in MODELS.build(model_cfg()).predict(
        images[:1], [DataSample()])[0]
