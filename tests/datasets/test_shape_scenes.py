import pickle

import numpy as np
import pytest
from mmcv.transforms import BaseTransform

from mmdino.datasets import ShapeScenes
from mmdino.registry import DATASETS, TRANSFORMS


def _pictures(num, **kwargs) -> np.ndarray:
    scenes = ShapeScenes(num, **kwargs)
    return np.stack([scenes[i]['img'] for i in range(num)])


def test_item_follows_the_conventions():
    scenes = DATASETS.build(dict(type='ShapeScenes', num_images=12))
    item = scenes[11]
    assert item['img'].shape == (48, 48, 3) and item['img'].dtype == np.uint8
    assert item['gt_mask'].shape == (48, 48)
    assert item['gt_mask'].dtype == np.uint8
    assert item['gt_label'] == 1 and item['sample_idx'] == 11
    assert item['img_shape'] == item['ori_shape'] == (48, 48)
    assert len(scenes) == 12


def test_pipeline_is_applied():

    @TRANSFORMS.register_module(force=True)
    class _KeepsLabel(BaseTransform):

        def transform(self, results):
            return results['gt_label']

    scenes = ShapeScenes(13, pipeline=[dict(type='mmdino._KeepsLabel')])
    assert scenes[12] == 2


def test_a_picture_depends_on_seed_split_and_index_alone():
    scenes = ShapeScenes(5, seed=3)
    again = pickle.loads(pickle.dumps(ShapeScenes(9, seed=3)))
    for i in (4, 0, 2):
        assert np.array_equal(scenes[i]['img'], again[i]['img'])
        assert np.array_equal(scenes[i]['gt_mask'], again[i]['gt_mask'])


def test_drawing_does_not_touch_the_global_random_numbers():
    np.random.seed(0)
    expected = np.random.rand()
    np.random.seed(0)
    _pictures(2)
    assert np.random.rand() == expected


def test_no_two_pictures_are_alike():
    """Neither within a split, nor between splits, nor between seeds."""
    settings = [
        dict(split='train'),
        dict(split='val'),
        dict(split='test'),
        dict(seed=1)
    ]
    pictures = np.concatenate([_pictures(30, **kw) for kw in settings])
    assert len(np.unique(pictures.reshape(120, -1), axis=0)) == 120


def test_all_classes_appear_equally_often():
    scenes = ShapeScenes(40)
    labels = [scenes[i]['gt_label'] for i in range(40)]
    assert np.array_equal(np.bincount(labels), [4] * 10)
    assert len(scenes.metainfo['classes']) == 10


@pytest.mark.parametrize('img_size', [32, 48, 64])
def test_mask_is_one_large_object(img_size):
    scenes = ShapeScenes(20, img_size=img_size, area=(.3, .45))
    shares = [scenes[i]['gt_mask'].mean() for i in range(20)]
    assert .25 < min(shares) and max(shares) < .55
    for i in range(20):
        assert set(np.unique(scenes[i]['gt_mask'])) == {0, 1}


def test_mask_matches_the_object():
    """A disc's two colours are inside its mask, the noise is outside."""
    item = ShapeScenes(1, img_size=64)[0]
    img, mask = item['img'].astype(float), item['gt_mask'].astype(bool)
    y, x = np.nonzero(mask)
    distance = np.hypot(*(np.mgrid[:64, :64] -
                          np.array([y.mean(), x.mean()])[:, None, None]))
    radius = np.sqrt(mask.sum() / np.pi)
    assert mask[distance < radius - 2].all()
    assert not mask[distance > radius + 2].any()
    # Two colours explain the inside, and not the outside.
    colors = img[mask]
    light = colors @ (.114, .587, .299)
    split = light > (light.min() + light.max()) / 2
    pair = np.stack(
        [np.median(colors[split], 0),
         np.median(colors[~split], 0)])

    def error(pixels):
        return np.abs(pixels[:, None] - pair).mean(-1).min(1).mean()

    assert error(colors) < .5 * error(img[~mask])


def test_raw_pixels_do_not_give_the_class_away():
    """Weighted k-NN on pixels, k 20, stays below 40%."""
    gallery = _pictures(1000).reshape(1000, -1) / 255 - .5
    queries = _pictures(300, split='test').reshape(300, -1) / 255 - .5
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    similarity = queries @ gallery.T
    nearest = np.argsort(-similarity, axis=1)[:, :20]
    weight = np.exp(np.take_along_axis(similarity, nearest, 1) / .07)
    votes = np.zeros((300, 10))
    np.add.at(votes, (np.arange(300)[:, None], nearest % 10), weight)
    accuracy = (votes.argmax(1) == np.arange(300) % 10).mean()
    assert .1 < accuracy < .4


@pytest.mark.parametrize('kwargs, message', [
    (dict(num_images=0), 'num_images is 0: choose 1 or more'),
    (dict(split='trian'), "split is 'trian': choose one of .*'train'"),
    (dict(img_size=8), 'img_size is 8.*at least 16'),
    (dict(seed=-1), 'seed is -1: choose 0 or more'),
    (dict(area=(.5, .3)), r'area is \(0.5, 0.3\): give the least'),
    (dict(area=(0, .3)), r'area is \(0, 0.3\).*between 0 and 1'),
])
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ShapeScenes(**kwargs)
