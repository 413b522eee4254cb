"""A tree in the layout of VOC 2012, read, scored, and with files missing."""
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image

from mmdino.datasets import VOCObjects
from mmdino.engine.configs import read_config
from mmdino.registry import DATASETS
from tests.ranks import run_ranks
from tests.tiny import runner_cfg

SIZES = {'2007_000033': (50, 36), '2007_000042': (30, 60), 'odd': (41, 41)}


def write_voc(root):
    """Images of (width, height), two objects a mask, a border of void."""
    rng = np.random.default_rng(0)
    for kind in ('ImageSets/Segmentation', 'JPEGImages', 'SegmentationObject'):
        (root / kind).mkdir(parents=True)
    for name, (width, height) in SIZES.items():
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(image).save(root / f'JPEGImages/{name}.jpg')
        mask = np.zeros((height, width), np.uint8)
        mask[5:20, 5:15] = 1
        mask[8:25, 15:28] = 2
        mask[8, 15:28] = 255
        palette = Image.fromarray(mask)
        palette.putpalette(rng.integers(0, 256, 768).tolist())
        palette.save(root / f'SegmentationObject/{name}.png')
    names = '\n'.join(SIZES)
    (root / 'ImageSets/Segmentation/val.txt').write_text(f'{names}\n')
    return root


@pytest.fixture
def voc(tmp_path):
    return write_voc(tmp_path / 'VOC2012')


def read_cfg(root, size=32):
    cfg = read_config('configs/benchmarks/attention-voc12.py')
    cfg.test_dataloader.dataset.data_root = str(root)
    cfg.test_dataloader.dataset.pipeline[1].scale = (size, size)
    cfg.test_dataloader.update(num_workers=0)
    return cfg


def test_items(voc):
    DefaultScope.get_instance('test', scope_name='mmdino')
    cfg = read_cfg(voc).test_dataloader.dataset
    item = DATASETS.build(cfg)[1]
    assert item['inputs'].shape == (3, 32, 32)
    mask = item['data_samples'].gt_mask
    assert mask.shape == (60, 30)
    assert set(np.unique(mask)) == {0, 1, 2, 255}
    assert (np.asarray(mask)[5:20, 5:15] == 1).all()


def test_missing_files_are_named(voc):
    for file in ('SegmentationObject/odd.png', 'JPEGImages/2007_000042.jpg',
                 'ImageSets/Segmentation/val.txt'):
        (voc / file).unlink()
        with pytest.raises(FileNotFoundError, match=f'{file} does not exist'):
            VOCObjects(str(voc))
    (voc / 'ImageSets/Segmentation/val.txt').write_text('\n')
    with pytest.raises(ValueError, match='val.txt names no image'):
        VOCObjects(str(voc))


def test_a_mask_of_colours_is_refused(voc):
    path = voc / 'SegmentationObject/odd.png'
    Image.new('RGB', (41, 41)).save(path)
    DefaultScope.get_instance('test', scope_name='mmdino')
    with pytest.raises(ValueError, match='odd.png has the mode RGB'):
        DATASETS.build(read_cfg(voc).test_dataloader.dataset)[2]


def scoring_cfg(root):
    """The tiny model's attention to the objects of the tree."""
    cfg = runner_cfg(root / 'unused', predict_attention=True)
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper',
                'param_scheduler', 'auto_scale_lr'):
        cfg.pop(key)
    cfg.default_hooks = dict()
    cfg.default_scope = 'mmdino'
    voc = read_cfg(root)
    for key in ('test_dataloader', 'test_cfg', 'test_evaluator'):
        cfg[key] = voc[key]
    cfg.test_dataloader.batch_size = 2
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False)
    return cfg.to_dict()


def score(cfg, work_dir, launcher='none'):
    cfg = Config(dict(cfg, work_dir=str(work_dir), launcher=launcher))
    runner = Runner.from_cfg(cfg)
    torch.manual_seed(0)
    for parameter in runner.model.parameters():
        torch.nn.init.normal_(parameter, std=.2)
    return runner.test()['attention/jaccard']


def score_on_rank(rank, folder, cfg):
    torch.save(score(cfg, folder / 'two', 'pytorch'), f'rank{rank}.pth')


def test_two_ranks_equal_one(voc, tmp_path):
    """Three images: one rank has a duplicate."""
    cfg = scoring_cfg(voc)
    run_ranks(score_on_rank, tmp_path, cfg)
    wanted = score(cfg, tmp_path / 'one')
    assert 0 < wanted < 1
    for rank in range(2):
        assert torch.load(tmp_path / f'rank{rank}.pth') == wanted
