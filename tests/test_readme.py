"""What README shows runs as it stands."""
import argparse
import re
from pathlib import Path

import pytest
import torch

from mmdino.engine import arguments, configs
from mmdino.registry import MODELS

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text()


def block(start: str) -> str:
    """The Python block that begins with ``start``."""
    blocks = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
    found, = (b for b in blocks if b.startswith(start))
    return found


def test_extension(tmp_path):
    code = block('# sharpened_loss.py')
    assert len(code.strip().splitlines()) <= 15
    (tmp_path / 'sharpened_loss.py').write_text(code)
    (tmp_path / 'my_dino.py').write_text(block('# my_dino.py'))
    parser = argparse.ArgumentParser()
    arguments.add_arguments(parser)
    args = parser.parse_args([str(tmp_path / 'my_dino.py')])
    cfg = configs.load_config(args)
    loss = MODELS.build(cfg.model.loss)
    student = torch.randn(4, 2, 8, requires_grad=True)
    loss(student, torch.randn(2, 2, 8).softmax(-1)).backward()
    assert student.grad.any()


def test_own_config(tmp_path):
    (tmp_path / 'mine.py').write_text(block('# mine.py'))
    cfg = configs.read_config(str(tmp_path / 'mine.py'))
    assert {v.dataset.data_root for v in configs.loaders(cfg)} == {'photos'}
    assert cfg.param_scheduler.warmup_epochs == 5
    assert cfg.train_dataloader.batch_size == 64
    assert cfg.test_dataloader.dataset.subset == 'test'
    assert cfg.val_dataloader.dataset.subset == 'val'
    assert [b.type for b in cfg.visualizer.vis_backends
            ] == ['LocalVisBackend', 'TensorboardVisBackend']


def test_transfer_backbone(tmp_path):
    """The mmseg fragment's backbone takes our checkpoint as it is."""
    backbone = dict(
        type='mmdino.VisionTransformer', arch='deit-small', patch_size=16)
    source = MODELS.build(backbone)
    torch.save(
        {
            f'teacher.backbone.{k}': v
            for k, v in source.state_dict().items()
        }, tmp_path / 'epoch_100.pth')
    scope = {}
    exec(block('# fcn_dino.py'), scope)
    cfg = scope['model']['backbone']
    cfg['init_cfg']['checkpoint'] = str(tmp_path / 'epoch_100.pth')
    vit = MODELS.build(cfg)
    vit.init_weights()
    assert torch.equal(vit.layers[11].attn.qkv.weight,
                       source.layers[11].attn.qkv.weight)
    maps = vit(torch.zeros(1, 3, 512, 512))
    assert [m.shape[1:] for m in maps] == [(384, 32, 32)] * len(maps)


@pytest.mark.parametrize('path', re.findall(r'\]\((?!http)([^)#]+)\)', README))
def test_links(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    'path',
    sorted(set(re.findall(r'\b((?:configs|tools)/[\w/.-]+\.\w+)', README))))
def test_named_files_exist(path):
    assert (ROOT / path).exists()
