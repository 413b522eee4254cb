"""A tree in the layout of VOC 2007: boxes, objects found, CorLoc."""
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from PIL import Image

from mmdino.datasets import VOCBoxes
from mmdino.engine.configs import read_config
from mmdino.engine.launch import build_runner
from mmdino.evaluation.metrics import CenterBoxCorLoc, CorLoc
from mmdino.models import ObjectFinder
from tests.tiny import model_cfg

# Width, height; boxes as VOC writes them: xmin, ymin, xmax, ymax from 1.
IMAGES = {
    '000005': ((48, 32), [(1, 1, 16, 32), (20, 5, 30, 20)]),
    '000007': ((32, 40), [(3, 2, 30, 39)]),
    '000009': ((33, 33), [])
}


def write_voc(root):
    for kind in ('ImageSets/Main', 'JPEGImages', 'Annotations'):
        (root / kind).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, ((width, height), boxes) in IMAGES.items():
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(root / f'JPEGImages/{name}.jpg')
        objects = ''.join(
            '<object><name>cat</name><difficult>1</difficult><bndbox>'
            f'<xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>'
            '</bndbox></object>' for a, b, c, d in boxes)
        (root / f'Annotations/{name}.xml').write_text(
            f'<annotation><size><width>{width}</width><height>{height}'
            f'</height><depth>3</depth></size>{objects}</annotation>')
    (root / 'ImageSets/Main/trainval.txt').write_text('\n'.join(IMAGES))
    return root


@pytest.fixture
def voc(tmp_path):
    return write_voc(tmp_path / 'VOC2007')


def test_items(voc):
    items = VOCBoxes(str(voc))
    first = items.get_data_info(0)
    assert first['ori_shape'] == (32, 48)
    assert first['gt_boxes'].tolist() == [[0, 0, 32, 16], [4, 19, 20, 30]]
    assert items.get_data_info(2)['gt_boxes'].shape == (0, 4)


def test_what_is_no_annotation_is_named(voc):
    (voc / 'Annotations/000007.xml').write_text('<annotation/>')
    with pytest.raises(ValueError, match='000007.xml is not an annotation'):
        VOCBoxes(str(voc))
    (voc / 'Annotations/000007.xml').unlink()
    with pytest.raises(FileNotFoundError, match='000007.xml does not exist'):
        VOCBoxes(str(voc))


def test_the_benchmark(voc, tmp_path):
    """Through the config, whose network has another patch than 16."""
    torch.manual_seed(0)
    backbone = model_cfg()['backbone']
    finder = ObjectFinder(backbone=backbone)
    finder.init_weights()
    state = finder.backbone.state_dict()
    torch.save(dict(state_dict=state), tmp_path / 'vit.pth')
    cfg = read_config('configs/benchmarks/discovery-voc07.py')
    cfg.model.update(checkpoint=str(tmp_path / 'vit.pth'), backbone=backbone)
    cfg.test_dataloader.num_workers = 0
    cfg.test_dataloader.dataset.data_root = str(voc)
    cfg.work_dir, cfg.launcher = str(tmp_path / 'run'), 'none'
    found = build_runner(cfg, testing=True).test()['discovery/corloc']
    assert found in (0., 50., 100.)  # the third image has no object


@pytest.fixture
def finder():
    DefaultScope.get_instance('test', scope_name='mmdino')
    model = ObjectFinder(backbone=model_cfg()['backbone'])
    model.init_weights()
    return model


def test_boxes_are_fractions_of_the_image(finder, monkeypatch):
    """An object that the keys tell from the ground, in a wide image."""
    keys = torch.full((4, 6, 8), -1.)
    keys[1:3, 2:5] = 1
    monkeypatch.setattr(finder, 'patches', lambda images, facet: keys[None])
    box = finder.find(torch.zeros(3, 32, 48))
    torch.testing.assert_close(box, torch.tensor([1 / 4, 2 / 6, 3 / 4, 5 / 6]))
    metric = CorLoc()
    sample = dict(
        pred_box=box, gt_boxes=np.array([[8, 16, 24, 40]]), ori_shape=(32, 48))
    assert metric.keep(sample) == pytest.approx(1)


def test_corloc():
    mask = np.zeros((10, 20), int)
    mask[2:6, 4:12] = 1
    mask[7:9, 14:18] = 7
    mask[0] = 255
    metric = CorLoc()
    fractions = np.array([.2, .2, .6, .6])
    assert metric.keep(dict(pred_box=fractions, gt_mask=mask)) == (
        pytest.approx(1))
    second = np.array([.7, .7, .9, .8])
    assert metric.keep(dict(pred_box=second, gt_mask=mask)) == (
        pytest.approx(.5))
    assert np.isnan(metric.keep(dict(pred_box=second, gt_mask=0 * mask)))
    assert metric.compute_metrics([1., .5, .49, float('nan')]) == {
        'corloc': pytest.approx(200 / 3)
    }
    with pytest.raises(ValueError, match='no object in 1 images'):
        metric.compute_metrics([float('nan')])
    with pytest.raises(KeyError, match='neither `gt_boxes` nor `gt_mask`'):
        metric.keep(dict(pred_box=second))
    with pytest.raises(ValueError, match='iou must be'):
        CorLoc(iou=0)


def test_the_best_box_in_the_middle():
    """Of 70% of the sides: of its own object all, of one in a corner none."""
    metric = CenterBoxCorLoc()
    samples = [
        dict(
            pred_box=np.zeros(4),
            gt_boxes=np.array([box]),
            ori_shape=(100, 200))
        for box in ([15, 30, 85, 170], [16, 31, 84, 171], [0, 0, 9, 9])
    ]
    metric.process(None, samples)
    assert metric.results[0][6] == pytest.approx(1)
    assert metric.evaluate(3) == {
        'discovery/corloc_center': pytest.approx(200 / 3)
    }


def test_networks_without_patches():
    with pytest.raises(ValueError, match='no key for each patch'):
        ObjectFinder(
            backbone=dict(type='mmpretrain.ResNet', depth=18),
            neck=dict(type='mmpretrain.GlobalAveragePooling'))
    with pytest.raises(ValueError, match='seeds'):
        ObjectFinder(backbone=model_cfg()['backbone'], seeds=0)
