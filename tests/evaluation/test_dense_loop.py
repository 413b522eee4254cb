"""Pixels are classified from frozen patches."""
import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmdino.datasets import SegmentedImages, VOCClasses
from mmdino.engine.configs import read_config
from mmdino.engine.launch import build_runner
from mmdino.models import FrozenTeacher
from tests.ranks import run_ranks
from tests.tiny import model_cfg


def shapes_cfg(folder):
    cfg = read_config('configs/benchmarks/dense-shapescenes.py')
    backbone = model_cfg()['backbone']
    cfg.model.update(
        backbone=backbone, data_preprocessor=model_cfg()['data_preprocessor'])
    for loader in (cfg.test_dataloader, cfg.test_cfg.gallery_dataloader):
        loader.update(num_workers=0, batch_size=4)
        loader.dataset.num_images = 11
    cfg.work_dir, cfg.launcher = str(folder), 'none'
    return cfg


def score(cfg):
    torch.manual_seed(0)
    runner = build_runner(copy.deepcopy(cfg), testing=True)
    torch.manual_seed(0)
    for parameter in runner.model.parameters():
        torch.nn.init.normal_(parameter, std=.2)
    return runner.test()


KEYS = {
    f'dense/{name}_{key}'
    for name in ('knn', 'linear')
    for key in ('miou', 'accuracy')
}


def test_the_gallery_against_itself(tmp_path):
    """With one neighbour, itself, only the patches' edges are wrong."""
    cfg = shapes_cfg(tmp_path)
    cfg.test_dataloader.dataset = cfg.test_cfg.gallery_dataloader.dataset
    cfg.test_cfg.update(k=1, patches_per_image=None)
    found = score(cfg)
    assert set(found) == KEYS
    assert found['dense/knn_accuracy'] > 88
    assert 0 < found['dense/linear_accuracy'] < 100


def score_on_rank(rank, folder, cfg):
    cfg = Config(dict(cfg, launcher='pytorch', work_dir=str(folder / 'two')))
    torch.save(score(cfg), folder / f'rank{rank}.pth')


def test_two_ranks_equal_one(tmp_path):
    cfg = shapes_cfg(tmp_path / 'one')
    run_ranks(score_on_rank, tmp_path, cfg.to_dict())
    expected = score(cfg)
    for rank in range(2):
        assert torch.load(tmp_path / f'rank{rank}.pth') == expected


def test_images_that_are_dealt_twice(tmp_path):
    cfg = shapes_cfg(tmp_path)
    cfg.test_dataloader.drop_last = True
    with pytest.raises(ValueError, match='round_up=False'):
        score(cfg)


def test_fp16_computes_features_with_autocast(tmp_path, monkeypatch):
    seen, patches = [], FrozenTeacher.patches

    def watched(self, images):
        seen.append(torch.is_autocast_enabled(images.device.type))
        return patches(self, images)

    monkeypatch.setattr(FrozenTeacher, 'patches', watched)
    cfg = shapes_cfg(tmp_path)
    cfg.test_cfg.fp16 = True
    assert score(cfg).keys() == KEYS
    assert seen and all(seen)


def test_masks_that_are_not_packed(tmp_path):
    cfg = shapes_cfg(tmp_path)
    cfg.test_cfg.mask_key = 'gt_mask'
    with pytest.raises(KeyError, match='gt_mask.*PackInputs must pack it'):
        score(cfg)


def test_masks_without_a_class(tmp_path):
    cfg = shapes_cfg(tmp_path)
    cfg.test_cfg.first_class = 50
    with pytest.raises(ValueError, match='no patch of a class'):
        score(cfg)


def write_pairs(images, masks, names, first):
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in names:
        pixels = rng.integers(0, 256, (40, 30, 3), np.uint8)
        Image.fromarray(pixels).save(images / f'{name}.jpg')
        mask = np.zeros((40, 30), np.uint8)
        mask[:20] = first
        mask[20:, 15:] = first + 3
        mask[0] = 255
        Image.fromarray(mask).save(masks / f'{name}.png')


def voc(root):
    write_pairs(root / 'JPEGImages', root / 'SegmentationClass', 'abc', 0)
    (root / 'ImageSets/Segmentation').mkdir(parents=True)
    (root / 'ImageSets/Segmentation/train.txt').write_text('a\nb\n')
    (root / 'ImageSets/Segmentation/val.txt').write_text('c\n')


def ade20k(root):
    for part in ('training', 'validation'):
        write_pairs(root / f'images/{part}', root / f'annotations/{part}',
                    ('x', 'y'), 1)


@pytest.mark.parametrize('name,write', [('dense-voc12', voc),
                                        ('dense-ade20k', ade20k)])
def test_benchmarks(name, write, tmp_path):
    write(tmp_path / 'data')
    cfg = read_config(f'configs/benchmarks/{name}.py')
    cfg.model.update(
        backbone=model_cfg()['backbone'],
        data_preprocessor=model_cfg()['data_preprocessor'])
    for loader in (cfg.test_dataloader, cfg.test_cfg.gallery_dataloader):
        loader.update(num_workers=0)
        loader.dataset.data_root = str(tmp_path / 'data')
        loader.dataset.pipeline[1].scale = (32, 32)
    cfg.work_dir, cfg.launcher = str(tmp_path / 'run'), 'none'
    assert set(score(cfg)) == KEYS


def test_missing_masks(tmp_path):
    ade20k(tmp_path)
    folders = dict(images='images/training', masks='annotations/training')
    assert len(SegmentedImages(str(tmp_path), **folders)) == 2
    (tmp_path / 'annotations/training/y.png').unlink()
    with pytest.raises(FileNotFoundError, match='training/y.png does not'):
        SegmentedImages(str(tmp_path), **folders)
    with pytest.raises(ValueError, match='holds no image'):
        SegmentedImages(str(tmp_path), images='none', masks='none')
    voc(tmp_path / 'voc')
    assert len(VOCClasses(str(tmp_path / 'voc'), 'train')) == 2
