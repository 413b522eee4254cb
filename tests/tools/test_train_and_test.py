"""tools/train.py and tools/test.py on a folder of images, as a user would."""
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmdino.engine.configs import complete, loaders
from tests.launching import run
from tests.tiny import runner_cfg

ROOT = Path(__file__).parents[2]


def in_process(name, *args, as_user=False) -> None:
    """Run a tool as a script, without the seconds that imports take.

    An error comes as it is; ``as_user`` lets it end the tool as it does for a
    user, with one line and the status 2.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [f'{name}.py', *map(str, args)])
        patch.setenv('LOCAL_RANK', '0')
        patch.setenv('MMDINO_TRACEBACK', '0' if as_user else '1')
        runpy.run_path(str(ROOT / 'tools' / f'{name}.py'), run_name='__main__')


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """A config of real images: 8 of red and 8 of blue noise, and a dud."""
    root = tmp_path_factory.mktemp('tools')
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for channel, name in ((0, 'red'), (2, 'blue')):
            folder = root / 'images' / split / name
            folder.mkdir(parents=True)
            for i in range(8):
                pixels = rng.integers(0, 60, (40, 48, 3), np.uint8)
                pixels[..., channel] += 150
                Image.fromarray(pixels).save(folder / f'{i}.PNG')
    (root / 'images/train/red/broken.jpg').write_bytes(b'no image')

    cfg = runner_cfg(root / 'unused', epochs=2)
    base = Config.fromfile('configs/_base_/datasets/imagenet_multi_crop.py')
    base.data_root = str(root / 'images')
    for loader in loaders(complete(base)):
        loader.update(num_workers=0, batch_size=4, persistent_workers=False)
        if 'views' not in loader.dataset.pipeline:
            loader.dataset.pipeline[1].scale = 36
            loader.dataset.pipeline[2].crop_size = 32
    views = base.train_dataloader.dataset.pipeline.views
    views.local.num_views = 2
    for name, size in dict(global_1=32, global_2=32, local=16).items():
        views[name].crop.size = size
    cfg.pop('train_dataloader')
    cfg.pop('work_dir')
    cfg.merge_from_dict(base.to_dict())
    cfg.train_cfg.val_interval = 1
    cfg.randomness = dict(seed=0)
    cfg.dump(root / 'config.py')
    return root / 'config.py'


@pytest.fixture(scope='module')
def trained(config):
    """The work dir of a run, from a process of its own, and what it said."""
    work_dir = config.parent / 'run'
    out = run(sys.executable, 'tools/train.py', str(config), '--work-dir',
              str(work_dir))
    assert out.returncode == 0, out.stderr[-3000:]
    return work_dir, out.stdout + out.stderr


def test_training_logs_progress_and_validates(trained):
    work_dir, log = trained
    assert (work_dir / 'epoch_2.pth').exists()
    for word in ('eta:', 'loss:', 'teacher_entropy:', 'kl:', 'momentum:',
                 'weight_decay:', 'knn/k20_top1:'):
        assert word in log, word
    assert '1 of 17 images could not be read so far' in log
    assert 'broken.jpg' in log


def test_resume_continues(trained, config):
    work_dir, _ = trained
    in_process('train', config, '--work-dir', work_dir, '--resume',
               '--cfg-options', 'train_cfg.max_epochs=3')
    log = max(work_dir.glob('*/*.log')).read_text()
    assert 'resumed epoch: 2, iter: 8' in log
    assert (work_dir / 'epoch_3.pth').exists()


def test_a_checkpoint_is_evaluated(trained, config, tmp_path):
    work_dir, _ = trained
    in_process('test', config, work_dir / 'epoch_2.pth', '--work-dir',
               tmp_path, '--out', tmp_path / 'metrics.json')
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics['knn/k20_top1'] > 90  # red and blue are easy


def test_two_processes_evaluate_alike(trained, config, tmp_path):
    checkpoint = str(trained[0] / 'epoch_2.pth')
    in_process('test', config, checkpoint, '--work-dir', tmp_path, '--out',
               tmp_path / 'one.json')
    out = run('bash', 'tools/dist_test.sh', str(config), checkpoint, '2',
              '--work-dir', str(tmp_path), '--out', str(tmp_path / 'two.json'))
    assert out.returncode == 0, out.stderr[-2000:]
    one, two = (
        json.loads((tmp_path / name).read_text())
        for name in ('one.json', 'two.json'))
    assert one['knn/k20_top1'] == two['knn/k20_top1']


def test_the_checkpoint_is_complete(trained):
    state = torch.load(
        trained[0] / 'epoch_2.pth', weights_only=False)['state_dict']
    assert {k.split('.')[0]
            for k in state} == {'backbone', 'head', 'teacher', 'centering'}
    assert state['centering.center'].any()


@pytest.mark.parametrize('option,message', [
    ('train_dataloader.dataset.data_root=/nowhere',
     "data_root '/nowhere' does not exist"),
    ('model.backbone.patch_size=10',
     'img_size 32 is not a multiple of the patch size 10'),
    ('train_dataloader.dataset.pipeline.views.local.crop.size=20',
     'image height 20 is not a multiple of the patch size 8'),
    ('model.head.out_dimm=3', 'out_dimm'),
    ('default_hooks.teacher.momentum=2', r'must be in \[0, 1\], got 2'),
])
def test_clear_errors(config, tmp_path, option, message):
    with pytest.raises(Exception, match=message):
        in_process('train', config, '--work-dir', tmp_path, '--cfg-options',
                   option)


def test_missing_checkpoint(config):
    with pytest.raises(
            FileNotFoundError, match="There is no checkpoint 'nowhere.pth'"):
        in_process('test', config, 'nowhere.pth')


def test_tensorboard_is_a_config_switch(config, tmp_path):
    switched = Config.fromfile(config)
    switched.merge_from_dict(
        dict(
            visualizer=Config.fromfile(
                'configs/_base_/tensorboard.py').visualizer))
    switched.dump(tmp_path / 'config.py')
    in_process('train', tmp_path / 'config.py', '--work-dir', tmp_path / 'run',
               '--no-validate', '--cfg-options', 'train_cfg.max_epochs=1',
               'param_scheduler.warmup_epochs=0')
    assert list((tmp_path / 'run').rglob('events.out.tfevents.*'))
