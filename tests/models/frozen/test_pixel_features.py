import pytest
import torch
from mmpretrain.structures import DataSample

from mmdino.models.frozen import PixelFeatures

PREPROCESSOR = dict(
    type='mmpretrain.SelfSupDataPreprocessor',
    mean=[10., 20., 30.],
    std=[2., 2., 2.],
    to_rgb=True)


def test_features_are_the_normalised_pixels():
    model = PixelFeatures(data_preprocessor=PREPROCESSOR)
    images = torch.randint(256, (2, 3, 4, 4), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(i) for i in range(2)]
    mean = torch.tensor([10., 20., 30.]).view(3, 1, 1)
    for inputs in (images, [images, images + 1]):
        out = model.val_step(dict(inputs=inputs, data_samples=samples))
        assert [int(s.gt_label) for s in out] == [0, 1]
        for image, sample in zip(images, out):
            wanted = (image.flip(0) - mean) / 2
            torch.testing.assert_close(sample.feature, wanted.flatten())


def test_pooling_averages():
    features = PixelFeatures(size=1)(torch.arange(12.).view(1, 3, 2, 2))
    assert features.tolist() == [[1.5, 5.5, 9.5]]


def test_it_cannot_be_trained():
    with pytest.raises(ValueError, match="mode 'loss'"):
        PixelFeatures()(torch.ones(1, 3, 2, 2), mode='loss')
