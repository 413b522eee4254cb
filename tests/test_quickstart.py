"""The quickstart in a tiny setting, on both kinds of data."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
KEYS = {
    'knn_top1', 'knn_top1_untrained', 'knn_top1_pixels', 'attention_jaccard',
    'attention_jaccard_untrained', 'images_per_second', 'wall_s'
}

LOADERS = ('train_dataloader', 'test_dataloader',
           'test_cfg.gallery_dataloader', 'val_dataloader',
           'val_cfg.gallery_dataloader')


def quickstart(work_dir, *args, loaders=LOADERS, options=()):
    """Run it, and give its summary and what it printed."""
    options = ['train_cfg.val_interval=2', *options]
    for name in loaders:
        options += [
            f'{name}.num_workers=0', f'{name}.persistent_workers=False'
        ]
    out = subprocess.run([
        sys.executable, ROOT / 'tools/quickstart.py', '--work-dir', work_dir,
        '--epochs', '2', *args, '--cfg-options', *options
    ],
                         env=dict(
                             os.environ,
                             PYTHONPATH=str(ROOT),
                             OMP_NUM_THREADS='1'),
                         cwd=work_dir.parent,
                         text=True,
                         capture_output=True,
                         timeout=300)
    assert out.returncode == 0, out.stderr[-3000:]
    return json.loads((work_dir / 'summary.json').read_text()), out.stdout


def check_pictures(work_dir, kind):
    for name in (kind, 'curves.png'):
        with Image.open(work_dir / name) as picture:
            assert min(picture.size) > 200
            assert len(picture.convert('RGB').getcolors(1 << 24)) > 50


def test_shapescenes(tmp_path):
    summary, printed = quickstart(
        tmp_path / 'run',
        options=[f'{name}.dataset.num_images=40'
                 for name in LOADERS] + ['train_dataloader.batch_size=16'])
    assert summary.keys() == KEYS
    for key in KEYS:
        assert summary[key] > 0, key
        if 'knn' in key:
            assert summary[key] <= 100
        if 'jaccard' in key:
            assert summary[key] < 1
    assert 'k-NN top-1, %' in printed and 'wall time, s' in printed
    check_pictures(tmp_path / 'run', 'attention.png')


@pytest.mark.parametrize('labelled', [True, False])
def test_a_folder_of_images(tmp_path, labelled):
    rng = np.random.default_rng(0)
    for i in range(32):
        folder = tmp_path / 'my images'
        folder = folder / 'ab'[i % 2] if labelled else folder
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (80, 100, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f'{i}.jpg')
    summary, printed = quickstart(
        tmp_path / 'run',
        '--data',
        'my images',
        loaders=LOADERS if labelled else LOADERS[:3])
    assert summary.keys() == KEYS
    assert (summary['knn_top1'] is not None) == labelled
    assert (summary['knn_top1_pixels'] is not None) == labelled
    assert summary['attention_jaccard'] is None
    check_pictures(tmp_path / 'run', 'nearest.png')
    assert 'nearest.png' in printed
