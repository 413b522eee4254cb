"""A wheel works by itself: it is built, installed, and trained from."""
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


def run(*args, **kwargs):
    """Run Python; say what it wrote if it fails."""
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    env.update(OMP_NUM_THREADS='1', **kwargs.pop('env', {}))
    out = subprocess.run([sys.executable, *map(str, args)],
                         env=env,
                         text=True,
                         capture_output=True,
                         **kwargs)
    assert out.returncode == 0, (out.stdout + out.stderr)[-3000:]
    return out.stdout + out.stderr


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """A folder into which the wheel of a clean copy was unpacked."""
    root = tmp_path_factory.mktemp('wheel')
    names = subprocess.run(
        ['git', 'ls-files', '--cached', '--others', '--exclude-standard'],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file() and not name.startswith('tests/'):
            target = root / 'source' / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    run('-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '-w', root,
        root / 'source')
    wheel, = root.glob('*.whl')
    run('-m', 'pip', 'install', '--no-deps', '--no-compile', '--target',
        root / 'site', wheel)
    return root / 'site'


def test_contents(site):
    wheel, = site.parent.glob('*.whl')
    names = zipfile.ZipFile(wheel).namelist()
    for name in ('configs/dino_vit-s16.py',
                 'configs/_base_/default_runtime.py', 'tools/train.py',
                 'configs/quickstart/dino_cifar10.safetensors',
                 'tools/convert_checkpoint.py', 'model-index.yml'):
        assert f'mmdino/.mim/{name}' in names
    assert not any('tests/' in name for name in names)
    assert not (ROOT / 'mmdino' / '.mim').exists()


def test_the_command_is_in_it(site, tmp_path):
    env = dict(PYTHONPATH=str(site))
    command = site / 'bin/mmdino'
    assert 'attention' in run(command, env=env, cwd=tmp_path)
    assert 'benchmarks/knn' in run(command, 'configs', env=env, cwd=tmp_path)
    told = run(command, 'stats', '--help', env=env, cwd=tmp_path)
    assert 'usage: mmdino stats' in told


def test_two_iterations_from_the_wheel(site, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    for i in range(4):
        pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'images/{i}.png')
    log = run(
        '-m',
        'mmdino.train',
        'dino_resnet10_images',
        '--no-validate',
        '--work-dir',
        tmp_path / 'run',
        '--cfg-options',
        f'data_root={tmp_path / "images"}',
        'train_dataloader.batch_size=2',
        'train_dataloader.num_workers=0',
        'model.head.out_dim=16',
        'train_cfg.max_epochs=1',
        'param_scheduler.warmup_epochs=0',
        'default_hooks.logger.interval=1',
        env=dict(PYTHONPATH=str(site)),
        cwd=tmp_path)
    assert 'Epoch(train) [1][2/2]' in log
    assert (tmp_path / 'run/epoch_1.pth').exists()
    where = run(
        '-c', 'import mmdino; from mmdino.apis import FeatureExtractor; '
        'features = FeatureExtractor("dino_cifar10")("images"); '
        'print(mmdino.__file__, len(features))',
        env=dict(PYTHONPATH=str(site)),
        cwd=tmp_path)
    assert f'{site}/mmdino/__init__.py 4' in where
