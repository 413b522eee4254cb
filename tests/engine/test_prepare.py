"""What a config that was read is completed by."""
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdino.engine.configs import (complete, loaders, override, prepare,
                                   read_config)

MIX_INS = ('tensorboard', 'fsdp', 'teacher_snapshots')


def test_one_data_root_serves_all_loaders():
    cfg = read_config('dino_vit-s16', dict(data_root='elsewhere'))
    assert [loader.dataset.data_root
            for loader in loaders(cfg)] == 5 * ['elsewhere']


def test_what_a_loader_says_itself_wins():
    cfg = read_config(
        'dino_vit-s16', {
            'data_root': 'elsewhere',
            'val_cfg.gallery_dataloader.dataset.data_root': 'gallery'
        })
    roots = [loader.dataset.data_root for loader in loaders(cfg)]
    assert roots == [
        'elsewhere', 'elsewhere', 'gallery', 'elsewhere', 'gallery'
    ]


def test_wrapped_data_sets():
    images = dict(type='Images', subset='train')
    wrapped = dict(
        type='RepeatDataset',
        times=2,
        dataset=dict(
            type='ConcatDataset',
            datasets=[images, dict(images, data_root='own')]))
    cfg = complete(
        Config(dict(data_root='all', train_dataloader=dict(dataset=wrapped))))
    first, second = cfg.train_dataloader.dataset.dataset.datasets
    assert (first.data_root, second.data_root) == ('all', 'own')
    foreign = Config(
        dict(
            data_root='all',
            train_dataloader=dict(dataset=dict(type='mmseg.ADE20KDataset'))))
    assert 'data_root' not in complete(foreign).train_dataloader.dataset


def test_the_test_follows_the_validation():
    cfg = read_config(
        'dino_vit-s16', {
            'val_dataloader.batch_size': 7,
            'test_dataloader.dataset.subset': 'train',
            'test_dataloader.dataset.pipeline.1.scale': 300,
            'test_evaluator.k': [3]
        })
    assert cfg.test_dataloader.batch_size == 7
    assert cfg.test_dataloader.dataset.subset == 'train'
    assert cfg.test_dataloader.dataset.pipeline[1].scale == 300
    assert cfg.val_dataloader.dataset.subset == 'val'
    assert cfg.val_dataloader.dataset.pipeline[1].scale == 256
    assert cfg.test_cfg.type == 'GalleryTestLoop'
    assert cfg.test_cfg.gallery_dataloader == cfg.val_cfg.gallery_dataloader
    assert cfg.test_evaluator == dict(type='KNNAccuracy', k=[3])
    assert 'k' not in cfg.val_evaluator


def test_a_test_of_its_own_stands_alone():
    own = dict(
        val_dataloader=dict(batch_size=1, dataset=dict(type='A', subset='v')),
        val_cfg=dict(type='ValLoop', fp16=True),
        val_evaluator=dict(type='M', k=1),
        test_dataloader=dict(batch_size=2, dataset=dict(type='B')),
        test_cfg=dict(type='TestLoop'),
        test_evaluator=[dict(type='N')])
    cfg = complete(Config(own))
    assert {k: v for k, v in cfg.to_dict().items() if k in own} == own
    untested = complete(Config(dict(own, test_dataloader=None)))
    assert untested.test_dataloader is None


def test_without_a_validation_there_are_no_changes_to_it():
    cfg = Config.fromfile('configs/dino_vit-s16.py')
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.test_dataloader = dict(dataset=dict(subset='train'))
    cfg.test_cfg = dict(gallery_dataloader=dict(batch_size=8))
    prepare(cfg)
    assert cfg.test_dataloader is cfg.test_cfg is cfg.test_evaluator is None
    own = dict(batch_size=4, dataset=dict(type='Images', subset='val'))
    cfg.test_dataloader, cfg.test_cfg = own, {}
    prepare(cfg)
    assert cfg.test_dataloader.batch_size == 4 and cfg.test_cfg is not None


def test_no_workers():
    cfg = read_config('dino_vit-s16', {
        'train_dataloader.num_workers': 0,
        'train_dataloader.prefetch_factor': 4
    })
    assert not {'persistent_workers', 'prefetch_factor'
                } & {*cfg.train_dataloader}


def test_twice_is_once():
    cfg = read_config('quickstart/dino_resnet10_cifar10')
    before = cfg.to_dict()
    assert prepare(cfg).to_dict() == before
    assert override(Config(before), {}).to_dict() == before


@pytest.mark.parametrize('lines,named', [
    (['from mmdino.models import DINO', 'model = dict(type=DINO)'
      ], "model.type=DINO is a class .* type='DINO'"),
    ([
        'from mmdino.datasets import Images',
        'val_dataloader = dict(dataset=dict(',
        '    type="ConcatDataset", datasets=[dict(type=Images)]))'
    ], 'val_dataloader.dataset.datasets.0.type=Images is'),
])
def test_a_class_as_a_type_is_refused(tmp_path, lines, named):
    """As in MMEngine's pure-Python configs."""
    path = tmp_path / 'pure.py'
    path.write_text('\n'.join(lines))
    with pytest.raises(ValueError, match=named):
        read_config(str(path))
    with pytest.raises(ValueError, match=named):
        read_config(str(path), {'train_cfg.max_epochs': 1})


def test_a_list_takes_the_place_of_a_tuple():
    """Transforms ask for a tuple, and a shell would want it quoted."""
    cfg = Config(dict(steps=[dict(size=(2, 2), names=['a'])]))
    override(cfg, {'steps.0.size': [3, 4], 'steps.0.names': ['b']})
    assert cfg.steps[0] == dict(size=(3, 4), names=['b'])


@pytest.mark.parametrize('names', [
    names for number in (1, 2, 3)
    for names in itertools.combinations(MIX_INS, number)
])
def test_mix_ins(names, tmp_path):
    files = [f'mmdino::_base_/{name}.py' for name in names]
    path = tmp_path / 'mine.py'
    path.write_text(f"_base_ = ['mmdino::dino_vit-s16.py', *{files}]")
    cfg = read_config(str(path))
    assert ('visualizer' in cfg) == ('tensorboard' in names)
    assert ('strategy' in cfg) == ('fsdp' in names)
    assert ('snapshot' in cfg.default_hooks) == ('teacher_snapshots' in names)


@pytest.mark.parametrize('imports', [
    'import mmdino; from mmengine.config import Config',
    'from mmengine.config import Config; import mmdino',
    'from mmengine.config import Config; import mmdino.engine.configs',
])
def test_inherit_from_anywhere(imports, tmp_path):
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'mmdino::dino_vit-s8.py'\n"
        "model = dict(head=dict(out_dim=_base_.model.head.out_dim // 2))")
    code = (f'{imports}\ncfg = Config.fromfile("mine.py")\n'
            'assert cfg.model.backbone.patch_size == 8\n'
            'assert cfg.model.head.out_dim == 32768')
    subprocess.run([sys.executable, '-c', code],
                   cwd=tmp_path,
                   env=dict(os.environ, PYTHONPATH=os.getcwd()),
                   check=True)


def test_inherit_from_what_is_not_there(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text("_base_ = 'mmdino::dino_vit-s9.py'")
    with pytest.raises(FileNotFoundError, match='dino_vit-s8'):
        Config.fromfile(path)


def test_the_dump_is_complete(tmp_path):
    """What the Runner writes is read again as it was."""
    cfg = read_config('dino_vit-t4_cifar10')
    cfg.dump(tmp_path / 'dumped.py')
    again = read_config(str(tmp_path / 'dumped.py'))
    assert again.to_dict() == cfg.to_dict()
    assert not [k for k in again if k.startswith('_')]
    assert Path(cfg.filename).stem == 'dino_vit-t4_cifar10'
