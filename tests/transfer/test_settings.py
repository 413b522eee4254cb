"""Examples, and what README says of varying them, give recorded settings."""
import argparse
import importlib.util
import json
import re
from pathlib import Path

import pytest
from mmengine.config import Config, DictAction

from mmdino.engine.configs import read_config
from mmdino.models import VisionTransformer
from tests.transfer.settings import plain, settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'configs/transfer'
README = (FOLDER / 'README.md').read_text()
RECORDED = json.loads((ROOT / 'tests/data/transfer.json').read_text())
EXAMPLES = {f'{path.parent.name}/{path.stem}': path
            for path in FOLDER.glob('*/*.py')}  # yapf: disable
# Files that README shows, by the name in their first line.
FILES = {
    name: text
    for text, name in re.findall(r'```python\n(# (\S+)\.py\n.*?)```', README,
                                 re.DOTALL)
}
SEGMENTORS = ('linear', 'linear4', 'fpn', 'upernet', 'segmenter')
DETECTORS = {
    'ViT-B': ('mask-rcnn_vit-s16', 'mask-rcnn_vit-b16'),
    'ViT-S/8, Mask R-CNN': ('mask-rcnn_vit-s16', 'mask-rcnn_vit-s8'),
    'ViT-S/8, RetinaNet, plain':
    ('retinanet_vit-s16-global', 'retinanet_vit-s8-global'),
    'RetinaNet, windows': ('retinanet_vit-s16-global', 'retinanet_vit-s16'),
    'XCiT-S12/8': ('mask-rcnn_xcit-s12-p16', 'mask-rcnn_xcit-s12-p8'),
    'XCiT-M24/16': ('retinanet_xcit-s12-p16', 'retinanet_xcit-m24-p16'),
    'XCiT-M24/8': ('mask-rcnn_xcit-s12-p16', 'mask-rcnn_xcit-m24-p8'),
}


def parametrize(names):
    """Configs of mmdet's need mmdet, though not its operators."""
    lacking = importlib.util.find_spec('mmdet') is None
    marks = [
        pytest.mark.detection
    ] + lacking * [pytest.mark.skip(reason="needs pip install -e '.[det]'")]
    return pytest.mark.parametrize('name', [
        pytest.param(name, marks=marks if name.startswith('mmdet') else ())
        for name in names
    ])


@parametrize(sorted(EXAMPLES.keys() & RECORDED.keys()))
def test_examples(name):
    assert settings(Config.fromfile(EXAMPLES[name])) == RECORDED[name]


def write(name, folder):
    """A file of README, which may lie anywhere."""
    path = folder / f'{name}.py'
    path.write_text(FILES[name])
    return path


@parametrize([
    'mmseg/upernet_vit-s16_cityscapes', 'mmseg/segmenter_vit-s16_voc12',
    'mmseg/linear_vit-s8_ade20k', 'mmseg/fpn_vit-b16_ade20k',
    'mmseg/linear4_resnet50_ade20k', 'mmseg/fpn_resnet50_ade20k',
    'mmdet/mask-rcnn_vit-s8_coco', 'mmdet/mask-rcnn_vit-s16-global_coco'
])
def test_files_of_readme(name, tmp_path):
    path = write(name.partition('/')[2], tmp_path)
    assert settings(Config.fromfile(path)) == RECORDED[name]


def options(text):
    """SETTING=VALUE ... as the tools read them."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(['--cfg-options', *text.split()]).cfg_options


def row(first):
    """The settings in a line of README's tables."""
    cells, = re.findall(rf'^\| {re.escape(first)} \| (.*model\..*) \|$',
                        README, re.MULTILINE)
    return [cell.strip('` ') for cell in cells.split(' | ')]


@pytest.mark.parametrize('network', ['vit-s8', 'vit-b16'])
@pytest.mark.parametrize('head', SEGMENTORS)
def test_settings_of_segmentors(head, network, tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(f"_base_ = ['{FOLDER}/mmseg/_base_/{head}_vit-s16.py', "
                    "'mmseg::_base_/datasets/ade20k.py']")
    cfg = read_config(str(path), options(row(head)[network == 'vit-b16']))
    assert settings(cfg) == RECORDED[f'mmseg/{head}_{network}_ade20k']


@parametrize([f'mmdet/{first}' for first in DETECTORS])
def test_settings_of_detectors(name):
    first = name.removeprefix('mmdet/')
    example, wanted = DETECTORS[first]
    path = EXAMPLES[f'mmdet/{example}_coco']
    cfg = read_config(str(path), options(row(first)[0]))
    assert settings(cfg) == RECORDED[f'mmdet/{wanted}_coco']


@parametrize(['mmseg/upernet_vit-s16_ade20k_640',
              'mmdet/mask-rcnn_vit-s16_coco_512'])  # yapf: disable
def test_another_size(name, tmp_path):
    """The file and the settings of the command line are the same."""
    name = name.partition('/')[2]
    above = README.partition(f'# {name}.py')[0]
    text = above.rpartition('Image size, here')[2].split('`')[1]
    other = tmp_path / 'config.py'
    if name.startswith('upernet'):
        other.write_text(
            f"_base_ = ['{FOLDER}/mmseg/_base_/upernet_vit-s16.py', "
            "'mmseg::_base_/datasets/ade20k.py']")
    else:
        other.write_text(
            f"_base_ = '{FOLDER}/mmdet/mask-rcnn_vit-s16_coco.py'")
    first = Config.fromfile(write(name, tmp_path))
    second = read_config(str(other), options(text))
    assert settings(first) == settings(second)
    assert settings(first)['crops'] == [[size, size] for size in (640, 512)
                                        if str(size) in name]
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        assert plain(first[key]) == plain(second[key])


@pytest.mark.parametrize('data', [
    'cars', 'cifar10', 'cifar100', 'flowers102', 'imagenet', 'inat18', 'inat19'
])
def test_fine_tuning_any_vit(data):
    """The checkpoint gives what configs for ViT-S and -B named."""
    found = settings(Config.fromfile(EXAMPLES[f'mmpretrain/finetune_{data}']))
    rate = found['model'].pop('drop_path_rate')
    for size, arch in (('s', 'deit-small'), ('b', 'deit-base')):
        wanted = dict(RECORDED[f'mmpretrain/finetune_vit-{size}16_{data}'])
        model = wanted['model'] = dict(wanted['model'])
        assert model.pop('backbone') == dict(
            type='mmdino.VisionTransformer',
            arch=arch,
            patch_size=16,
            img_size=224,
            drop_path_rate=rate)
        model['head'] = dict(model['head'])
        assert model['head'].pop('in_channels') == dict(s=384, b=768)[size]
        assert found == wanted


def test_every_example_is_told_of():
    for name in EXAMPLES:
        file = name.partition('/')[2]
        assert f'{file}.py' in README or file.startswith(
            ('finetune_', 'linear_vit-tiny'))


@parametrize([
    f'{path.parent.name}/{path.stem}'
    for path in sorted(FOLDER.glob('*/*.py'))
])
def test_no_token_of_a_vit_decays(name):
    """Position embeddings and all tokens that DINOv2 has, or none of them."""
    wrapper = Config.fromfile(EXAMPLES[name]).optim_wrapper
    keys = (wrapper.get('paramwise_cfg') or {}).get('custom_keys') or {}
    if '.cls_token' not in keys:
        return
    vit = VisionTransformer(
        arch='deit-tiny', num_registers=4, with_mask_token=True)
    free = [
        param for param, _ in vit.named_parameters()
        if any(key in f'backbone.{param}' and settings.decay_mult == 0
               for key, settings in keys.items())
    ]
    assert free == ['cls_token', 'pos_embed', 'register_tokens', 'mask_token']
