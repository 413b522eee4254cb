"""Attention on its way into MMEngine's visualizer."""
import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from PIL import Image

from mmdino.pictures.while_training import AttentionPicturesHook, _as_rgb
from tests.tiny import runner_cfg


@pytest.fixture
def pictures(tmp_path):
    names = []
    for i, shape in enumerate([(40, 60, 3), (33, 33, 3)]):
        pixels = np.random.default_rng(i).integers(0, 256, shape, np.uint8)
        names.append(str(tmp_path / f'{i}.png'))
        Image.fromarray(pixels).save(names[-1])
    return names


def train(folder, *hooks):
    cfg = runner_cfg(folder, epochs=2)
    cfg.randomness = dict(seed=0)
    cfg.optim_wrapper.optimizer.lr = 1.  # few steps change the picture
    cfg.default_hooks.teacher.momentum = 0.
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), *hooks]
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def test_the_visualizer_gets_them_and_training_is_as_without(
        pictures, tmp_path):
    hook = dict(type='AttentionPicturesHook', pictures=pictures, size=32)
    runner = train(tmp_path / 'with', hook)
    files = sorted((tmp_path / 'with').rglob('vis_image/attention_*.png'))
    assert [file.stem for file in files
            ] == ['attention_0', 'attention_1', 'attention_2']
    first, last = (cv2.imread(str(files[i])) for i in (0, 2))
    assert first.shape == last.shape and (first != last).any()
    plain = train(tmp_path / 'without')
    for one, other in zip(runner.model.parameters(), plain.model.parameters()):
        assert torch.equal(one, other)
    assert runner.model.teacher.training == plain.model.teacher.training


@pytest.mark.parametrize('channels', [1, 2, 4])
def test_any_channels(channels, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 2**16, (40, 60, channels),
                                               np.uint16)
    path = str(tmp_path / 'x.npy')
    np.save(path, pixels)
    cfg = runner_cfg(tmp_path / 'run')
    cfg.model.data_preprocessor.update(
        mean=[0.] * channels, std=[255.] * channels, bgr_to_rgb=False)
    cfg.model.backbone.in_channels = channels
    runner = Runner.from_cfg(cfg)
    hook = AttentionPicturesHook([path], size=32)
    hook.images = hook._read(runner, runner.model.backbone)
    assert hook.images[0].shape == (channels, 32, 48)
    hook._show(runner)
    file, = tmp_path.rglob('vis_image/attention_0.png')
    assert cv2.imread(str(file)).size


def test_the_order_of_colours():
    """LoadImage gives blue first; other files keep their order."""
    levels = torch.tensor([0, 128, 255, 9], dtype=torch.uint8)
    for channels, shown in ((1, [0, 0,
                                 0]), (2, [0, 0,
                                           0]), (3, [255, 128,
                                                     0]), (4, [0, 128, 255])):
        image = levels[:channels, None, None].expand(-1, 2, 2)
        assert (_as_rgb(image) == shown).all()


@pytest.mark.parametrize('arguments,message', [
    (dict(pictures=0), 'at least one picture'),
    (dict(pictures=[]), 'at least one picture'),
    (dict(interval=0), 'interval=0'),
])
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttentionPicturesHook(**arguments)


def test_what_it_lacks_is_told(tmp_path):
    with pytest.raises(ValueError, match='the run has no validation: give'):
        train(tmp_path, dict(type='AttentionPicturesHook'))
