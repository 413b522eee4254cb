"""Pictures as people have them: the same features whichever way."""
import numpy as np
import pytest
import torch
from PIL import Image

from mmdino.apis import FeatureExtractor
from mmdino.datasets.transforms import UnreadableImageError
from mmdino.models import FrozenTeacher
from tests.datasets.test_decoding import MODES, PHOTO, picture

BACKBONE = dict(
    type='mmdino.VisionTransformer',
    arch=dict(
        embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=96),
    img_size=32,
    patch_size=8)


def extractor(channels: int = 3, **kwargs) -> FeatureExtractor:
    torch.manual_seed(0)
    teacher = FrozenTeacher(
        backbone=dict(BACKBONE, in_channels=channels),
        data_preprocessor=dict(
            type='mmdino.MultiViewDataPreprocessor',
            mean=[120.] * channels,
            std=[60.] * channels,
            bgr_to_rgb=channels == 3))
    return FeatureExtractor(teacher, **kwargs)


def test_all_modes_by_path_and_by_object(tmp_path):
    extract = extractor()
    paths = []
    for name, modes in MODES.items():
        for mode in modes:
            if name == 'AVIF' and '.avif' not in (
                    Image.registered_extensions()):
                continue
            paths.append(tmp_path / f'{name}_{mode.replace(";", "")}')
            picture(mode).save(paths[-1], name)
    by_path = extract(paths)
    by_object = extract([Image.open(path) for path in paths])
    off = (by_path - by_object).abs().amax(dim=1)
    assert off.max() < .02, paths[int(off.argmax())]


@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_photos_are_turned_both_ways(tmp_path, orientation):
    extract = extractor()
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(PHOTO).save(tmp_path / 'x.png', exif=exif)
    by_path = extract(tmp_path / 'x.png')
    by_object = extract(Image.open(tmp_path / 'x.png'))
    assert torch.equal(by_path, by_object)
    assert torch.equal(by_path, extract(PHOTO)) == (orientation == 1)


def test_an_alpha_channel(tmp_path):
    extract = extractor()
    rgba = np.dstack([PHOTO, PHOTO[..., 0]])
    Image.fromarray(rgba).save(tmp_path / 'x.png')
    for image in (tmp_path / 'x.png', Image.fromarray(rgba)):
        assert torch.equal(extract(image), extract(PHOTO))
    with pytest.raises(UnreadableImageError, match='of 4 channels'):
        extract(rgba)


def test_broken_ones_are_left_out_by_name(tmp_path):
    for i in range(5):
        Image.fromarray(PHOTO // (i + 1)).save(tmp_path / f'{i}.png')
    whole = extractor(batch_size=2)(tmp_path)
    for i in (0, 1, 4):  # a whole batch, and the last one
        (tmp_path / f'{i}.png').write_bytes(b'')
    found = extractor(batch_size=2).extract(tmp_path)
    assert found.indices.tolist() == [2, 3]
    assert found.names == [str(tmp_path / f'{i}.png') for i in (2, 3)]
    torch.testing.assert_close(found.features, whole[2:4])
    assert [cause.split(':')[0] for cause in found.left_out
            ] == [str(tmp_path / f'{i}.png') for i in (0, 1, 4)]
    for i in (2, 3):
        (tmp_path / f'{i}.png').write_bytes(b'')
    with pytest.raises(UnreadableImageError, match='0.png: .*empty'):
        extractor()(tmp_path)


@pytest.mark.parametrize('channels', [1, 4, 10])
def test_networks_of_other_channels(tmp_path, channels):
    array = np.random.default_rng(0).integers(
        0, 255, (40, 50, channels)).astype(np.uint8)
    np.save(tmp_path / 'x.npy', array)
    extract = extractor(channels)
    assert torch.equal(extract(array), extract(tmp_path / 'x.npy'))
    if channels == 1:
        assert extract([PHOTO, array[..., 0]]).shape == (2, 24)


def test_settings_of_loading():
    deep = np.random.default_rng(0).integers(0, 4096,
                                             (40, 50)).astype(np.uint16)
    dark, light = extractor()(deep), extractor(
        load=dict(value_range=(0, 4095)))(
            deep)
    assert (dark - light).abs().max() > .1
    eight = np.round(deep / 4095 * 255).astype(np.uint8)
    assert (extractor()(eight) - light).abs().max() < .02


@pytest.mark.parametrize('given', [
    dict(size=0),
    dict(size=-8),
    dict(batch_size=0),
    dict(size=0, what='patches')
])
def test_sizes_below_one(given):
    with pytest.raises(ValueError, match='batch_size and size must be at '):
        extractor(**given)
