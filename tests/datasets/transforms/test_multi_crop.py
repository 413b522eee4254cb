from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmdino.datasets import Images
from mmdino.datasets.transforms import MultiCrop, augment, random_resized_crop

CONFIG = (
    Path(__file__).parents[3] /
    'configs/_base_/datasets/imagenet_multi_crop.py')


def paper_views() -> dict:
    cfg = Config.fromfile(CONFIG)
    return cfg.train_dataloader.dataset.pipeline.views


def tiny_views() -> dict:
    crop = dict(type='RandomResizedCrop', size=16, scale=(0.4, 1.))
    small = dict(type='RandomResizedCrop', size=8, scale=(0.05, 0.4))
    return dict(
        local=dict(num_views=3, crop=small, pipeline=[]),
        global_1=dict(num_views=2, crop=crop, pipeline=[]))


def test_whole_chain_has_parity_with_pillow(photos, pillow, distance,
                                            monkeypatch):
    multi_crop = MultiCrop(paper_views())

    def crop(photo):
        np.random.seed(3)
        return multi_crop.transform(dict(img=photo))['img']

    ours = [crop(photo) for photo in photos]
    for module, names in ((random_resized_crop, ['resize']), (augment, [
            'adjust_brightness', 'adjust_contrast', 'adjust_saturation',
            'adjust_hue'
    ]), (augment, ['to_gray']), (augment, ['gaussian_blur']), (augment,
                                                               ['solarize'])):
        for name in names:
            monkeypatch.setattr(module, name, getattr(pillow, name))
    for photo, views in zip(photos, ours):
        for view, reference in zip(views, crop(photo), strict=True):
            assert distance(view, reference) < 2


@pytest.mark.parametrize('name, sizes', [
    ('imagenet', 2 * [224] + 8 * [96]),
    ('cifar10', 2 * [32] + 6 * [16]),
])
def test_configs_views_have_their_sizes(photos, name, sizes):
    cfg = Config.fromfile(CONFIG.with_name(f'{name}_multi_crop.py'))
    views = cfg.train_dataloader.dataset.pipeline.views
    crops = MultiCrop(views).transform(dict(img=photos[0]))['img']
    assert [c.shape for c in crops] == [(s, s, 3) for s in sizes]
    assert all(c.dtype == np.uint8 for c in crops)


def test_papers_views_differ_in_blur_and_solarize():
    steps = {
        name: {
            s.type: s.prob
            for s in view.pipeline
        }
        for name, view in paper_views().items()
    }
    assert {
        n: s['GaussianBlur']
        for n, s in steps.items()
    } == dict(
        global_1=1.0, global_2=0.1, local=0.5)
    assert [n for n, s in steps.items() if 'Solarize' in s] == ['global_2']


def test_views_come_in_the_order_of_their_names(photos):
    views = MultiCrop(tiny_views()).transform(dict(img=photos[0]))['img']
    assert [len(v) for v in views] == [16, 16, 8, 8, 8]
    for i, a in enumerate(views[:2]):
        assert not any(np.array_equal(a, b) for b in views[i + 1:2])


def test_one_views_keys_do_not_reach_the_next(photos):
    seen = []

    def mark(results):
        seen.append('mark' in results)
        results['mark'] = True
        return results

    views = {
        name: dict(view, pipeline=[mark])
        for name, view in tiny_views().items()
    }
    before = photos[0].copy()
    results = MultiCrop(views).transform(dict(img=photos[0], sample_idx=5))
    assert seen == 5 * [False]
    assert set(results) == {'img', 'sample_idx'}
    np.testing.assert_array_equal(photos[0], before)


def test_leaf_config_overrides_number_and_scale_of_a_view(tmp_path):
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(f"""
_base_ = '{CONFIG}'
train_dataloader = dict(dataset=dict(pipeline=dict(views=dict(
    global_1=dict(crop=dict(scale=(0.25, 1.0))),
    local=dict(num_views=10)))))
""")
    cfg = Config.fromfile(leaf)
    # also through the dump that the Runner writes, whose keys are sorted
    cfg.dump(tmp_path / 'dumped.py')
    for path in (leaf, tmp_path / 'dumped.py'):
        pipeline = Config.fromfile(path).train_dataloader.dataset.pipeline
        multi_crop = MultiCrop(pipeline.views)
        crops = [p.transforms[0] for p in multi_crop.pipelines]
        assert [c.size for c in crops] == 2 * [224] + 10 * [96]
        assert [c.scale for c in crops[:3]] == [(0.25, 1.), (0.4, 1.),
                                                (0.05, 0.4)]
        assert len(multi_crop.pipelines[0].transforms) == 5


@pytest.mark.parametrize('change, message', [
    (dict(num_views=-1), 'got -1'),
    (dict(scale=(0.1, 1.)), r"'local' takes .* not \['scale'\]"),
    (dict(crop=None), "'local' needs num_views and crop, .* crop=None"),
    (dict(num_views=None), "'local' needs .* num_views=None"),
])
def test_rejects_wrong_views(change, message):
    views = tiny_views()
    views['local'].update(change)
    with pytest.raises(ValueError, match=message):
        MultiCrop(views)


def test_a_view_is_its_crop_alone(photos):
    views = {
        name: dict(num_views=view['num_views'], crop=view['crop'])
        for name, view in tiny_views().items()
    }
    crops = MultiCrop(views).transform(dict(img=photos[0]))['img']
    assert [len(crop) for crop in crops] == [16, 16, 8, 8, 8]
    views['local'].pop('crop')
    with pytest.raises(ValueError, match="'local' needs num_views and crop"):
        MultiCrop(views)


def test_rejects_no_views():
    with pytest.raises(ValueError, match='at least one view'):
        MultiCrop(dict(local=dict(tiny_views()['local'], num_views=0)))


def batches(folder, seed: int, num_workers: int = 2) -> list:
    """Two epochs of crops of one and the same image."""
    loader = Runner.build_dataloader(
        dict(
            batch_size=2,
            num_workers=num_workers,
            persistent_workers=True,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
            dataset=Images(
                str(folder),
                pipeline=dict(
                    type='MultiCrop',
                    before=[dict(type='LoadImage')],
                    views=tiny_views(),
                    after=[dict(type='mmpretrain.PackInputs')]))),
        seed=seed)
    return [batch['inputs'] for _ in range(2) for batch in loader]


def test_random_numbers_in_workers(photo_folder):
    first, again = batches(photo_folder, 0), batches(photo_folder, 0)
    other = batches(photo_folder, 1)
    assert [tuple(v.shape)
            for v in first[0]] == (2 * [(2, 3, 16, 16)] + 3 * [(2, 3, 8, 8)])
    # reproducible from the seed
    for a, b in zip(first, again, strict=True):
        assert all(x.equal(y) for x, y in zip(a, b))
    assert not any(a[0].equal(b[0]) for a, b in zip(first, other))
    # no two crops are equal: of the two workers, of two epochs, in a batch
    crops = [crop for batch in first for view in batch[:2] for crop in view]
    assert len({crop.numpy().tobytes() for crop in crops}) == len(crops)
