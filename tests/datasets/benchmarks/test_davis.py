import shutil

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image

from mmdino.datasets.transforms import LoadSequence, UnreadableImageError
from mmdino.datasets.transforms.loading import load_mask, scaled_size
from mmdino.registry import DATASETS
from tests.davis_tree import moving_square, write_tree

PIPELINE = [
    dict(type='mmdino.LoadSequence', short_side=64, divisor=32),
    dict(
        type='mmpretrain.PackInputs',
        algorithm_keys=('first_mask', 'gt_masks'),
        meta_keys=('sequence', 'frame_names', 'ori_shape', 'img_shape')),
]


@pytest.fixture
def tree(tmp_path):
    """Two sequences, of which the list names the second one first."""
    return write_tree(
        tmp_path / 'DAVIS',
        kite=moving_square(frames=4),
        bear=moving_square(frames=3, size=(80, 100), square=40, seed=1))


def build(root, **kwargs):
    return DATASETS.build(
        dict(type='mmdino.DAVIS', data_root=str(root), **kwargs))


def test_lists_the_sequences_in_the_order_of_the_split(tree):
    dataset = build(tree)
    assert [item['sequence'] for item in dataset] == ['kite', 'bear']
    assert dataset.metainfo['split'] == 'val'
    item = dataset[1]
    assert item['frame_paths'][2] == str(tree /
                                         'JPEGImages/480p/bear/00002.jpg')
    assert item['mask_paths'][0] == str(tree /
                                        'Annotations/480p/bear/00000.png')
    (tree / 'ImageSets/2017/train.txt').write_text('bear')
    assert [i['sequence'] for i in build(tree, split='train')] == ['bear']


def test_names_with_spaces(tmp_path):
    clips = {'my kite': moving_square(frames=2)}
    tree = write_tree(tmp_path / 'DAVIS', **clips)
    (tree / 'ImageSets/2017/val.txt').write_text('my kite \r\n\n')
    assert [item['sequence'] for item in build(tree)] == ['my kite']


def test_loads_a_sequence(tree):
    DefaultScope.get_instance('test', scope_name='mmdino')
    item = build(tree, pipeline=PIPELINE)[1]
    sample = item['data_samples']
    assert item['inputs'].shape == (3, 3, 64, 64)  # 80 of 64 / 80 x 100
    assert sample.sequence == 'bear'
    assert sample.frame_names == ['00000', '00001', '00002']
    assert sample.ori_shape == (80, 100) and sample.img_shape == (64, 64)
    truth = moving_square(frames=3, size=(80, 100), square=40, seed=1)[1]
    assert (sample.gt_masks == truth).all()
    assert (sample.first_mask == truth[0]).all()


def test_unscaled_frames_are_the_files(tree):
    """BGR: the file's red is the last channel."""
    item = LoadSequence(96, 32)(build(tree)[0])
    with Image.open(tree / 'JPEGImages/480p/kite/00003.jpg') as image:
        pixels = np.array(image)
    got = item['img'][3].transpose(1, 2, 0)[..., ::-1].astype(int)
    # Pillow and OpenCV may bring their own decoders.
    assert np.abs(got - pixels).mean() < 1


@pytest.mark.parametrize('size, wanted', [
    ((480, 854), (480, 832)),
    ((480, 910), (480, 896)),
    ((854, 480), (832, 480)),
    ((480, 480), (480, 448)),
    ((1080, 1920), (480, 832)),
])
def test_size(size, wanted):
    assert scaled_size(*size, 480, 64) == wanted


def test_void_is_background(tmp_path):
    mask = np.array([[0, 1], [255, 2]], np.uint8)
    image = Image.fromarray(mask)
    image.putpalette(bytes(range(256)) * 3)
    image.save(tmp_path / 'mask.png')
    assert load_mask(tmp_path / 'mask.png', (2, 2)).tolist() == [[0, 1],
                                                                 [0, 2]]


@pytest.mark.parametrize('lost, message', [
    ('ImageSets/2017/val.txt', 'val.txt does not exist: the list'),
    ('JPEGImages/480p/kite', "kite does not exist: the frames .* 'kite'"),
    ('Annotations/480p/bear', "bear does not exist: the masks .* 'bear'"),
    ('Annotations/480p/kite/00000.png',
     'Annotations/480p/kite/00000.png does not exist: 3 masks for the 4'),
    ('Annotations/480p/kite/00002.png', 'kite/00002.png does not exist: 3'),
    ('JPEGImages/480p/kite/00001.jpg',
     'JPEGImages/480p/kite/00001.jpg does not exist: 4 masks for the 3'),
])
def test_missing_files_are_named(tree, lost, message):
    path = tree / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=message) as error:
        build(tree)
    assert 'JPEGImages/480p and Annotations/480p' in str(error.value)


def test_empty_sequences_and_lists(tree):
    for path in (tree / 'JPEGImages/480p/kite').iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r'kite holds no frame \(\*.jpg\)'):
        build(tree)
    (tree / 'ImageSets/2017/val.txt').write_text('\n')
    with pytest.raises(ValueError, match='val.txt names no sequence'):
        build(tree)


def test_wrong_masks(tree):
    item = build(tree)[0]
    path = tree / 'Annotations/480p/kite/00000.png'
    for array, message in ((np.zeros(
        (96, 160), np.uint8), 'first mask, has no object'), (np.ones(
            (96, 160, 3), np.uint8), "the mode RGB.*palette"), (np.ones(
                (90, 160),
                np.uint8), r'\(90, 160\), but the frames .*\(96, 160')):
        Image.fromarray(array).save(path)
        with pytest.raises(ValueError, match=message):
            LoadSequence()(item)


def test_wrong_frames(tree):
    item = build(tree)[0]
    (tree / 'JPEGImages/480p/kite/00001.jpg').write_bytes(b'no image')
    with pytest.raises(UnreadableImageError, match='kite/00001.jpg'):
        LoadSequence()(item)
    with pytest.raises(ValueError, match='got 64 and 32'):
        LoadSequence(32, 64)
