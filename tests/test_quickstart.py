"""The quickstart in a tiny setting, on both kinds of data."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmdino.engine.configs import read_config
from tests.tiny import save_network

ROOT = Path(__file__).parents[1]
KEYS = {
    'knn_top1', 'knn_top1_untrained', 'knn_top1_pixels', 'attention_jaccard',
    'attention_jaccard_untrained', 'images_per_second', 'wall_s', 'verdict'
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


def check_pictures(work_dir, kind, *others):
    for name in (kind, 'curves.png', *others):
        with Image.open(work_dir / name) as picture:
            assert min(picture.size) > 200
            assert len(picture.convert('RGB').getcolors(1 << 24)) > 50


def test_shapescenes(tmp_path):
    summary, printed = quickstart(
        tmp_path / 'run',
        options=[f'{name}.dataset.num_images=40'
                 for name in LOADERS] + ['train_dataloader.batch_size=16'])
    assert summary.keys() == KEYS
    assert summary['verdict'].split()[0] == 'k-NN'
    for key in KEYS - {'verdict'}:
        assert summary[key] > 0, key
        if 'knn' in key:
            assert summary[key] <= 100
        if 'jaccard' in key:
            assert summary[key] < 1
    assert 'k-NN top-1, %' in printed and 'wall time, s' in printed
    check_pictures(tmp_path / 'run', 'attention.png')


@pytest.fixture
def folder(tmp_path):

    def draw(size=(80, 100), labelled=True, count=32):
        rng = np.random.default_rng(0)
        root = tmp_path / 'my images'
        for i in range(count):
            place = root / 'ab'[i % 2] if labelled else root
            place.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (*size, 3), np.uint8)
            Image.fromarray(pixels).save(place / f'{i}.jpg')
        return root

    return draw


@pytest.mark.parametrize(
    'labelled', [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_folder_of_images(tmp_path, folder, labelled):
    folder(labelled=labelled)
    summary, printed = quickstart(
        tmp_path / 'run',
        '--data',
        'my images',
        loaders=LOADERS if labelled else LOADERS[:3])
    assert summary.keys() == KEYS
    assert (summary['knn_top1'] is not None) == labelled
    assert (summary['knn_top1_pixels'] is not None) == labelled
    assert (summary['knn_top1_untrained'] is not None) == labelled
    assert summary['attention_jaccard'] is None
    assert ('against raw pixels' in summary['verdict']) == labelled
    assert '--weights FILE_OR_NAME' in ' '.join(printed.split())
    check_pictures(tmp_path / 'run', 'nearest.png')


@pytest.fixture
def script(monkeypatch):
    """quickstart.py, for its functions."""
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import quickstart
    yield quickstart
    sys.modules.pop('quickstart')


def test_config_and_data_go_together(folder, script):
    root = folder()
    cfg = read_config('quickstart/dino_resnet10_cifar10')
    script.use_folder(cfg, root)
    assert cfg.train_dataloader.dataset.data_root == str(root)
    assert cfg.train_dataloader.dataset.subset == ''
    assert 'images_per_class' not in cfg.train_dataloader.dataset
    assert len(cfg.val_dataloader.dataset.indices) == 7
    assert cfg.test_dataloader.dataset.classes == ['a', 'b']
    with pytest.raises(ValueError, match='has ShapeScenes: use another'):
        script.use_folder(
            read_config('quickstart/dino_vit-tiny_shapescenes'), root)
    with pytest.raises(ValueError, match='nowhere is not a folder'):
        script.use_folder(cfg, root / 'nowhere')


def test_weights_show_what_they_give(tmp_path, folder, script, monkeypatch,
                                     capsys):
    weights = str(ROOT / 'tests/data/checkpoints/vit.pth')
    monkeypatch.setattr(sys, 'argv', [
        'quickstart.py', '--data',
        str(folder((200, 300))), '--weights', weights, '--work-dir',
        str(tmp_path / 'run')
    ])
    script.main()
    summary = json.loads((tmp_path / 'run/summary.json').read_text())
    assert summary['images'] == 32
    assert 0 <= summary['knn_top1'] <= 100
    printed = capsys.readouterr().out
    assert 'k-NN top-1 among themselves' in printed
    for name in ('attention.png', 'nearest.png', 'features.npz'):
        assert (tmp_path / 'run' / name).exists() and name in printed


def look(script, monkeypatch, capsys, data, weights, run):
    """Evaluate weights; give the summary and what was printed."""
    monkeypatch.setattr(sys, 'argv', [
        'quickstart.py', '--data',
        str(data), '--weights',
        str(weights), '--work-dir',
        str(run)
    ])
    script.main()
    printed = ' '.join(capsys.readouterr().out.split())
    return json.loads((run / 'summary.json').read_text()), printed


def test_images_that_cannot_be_drawn_are_compared(tmp_path, script,
                                                  monkeypatch, capsys):
    rng = np.random.default_rng(0)
    for name in ('a/0', 'a/1', 'b/2', 'b/3'):
        path = tmp_path / f'data/{name}.npy'
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, rng.integers(0, 256, (40, 40, 10), np.uint8))
    told = []
    monkeypatch.setattr('mmdino.experiments.first_look.print_log',
                        lambda text, **_: told.append(text))
    save_network(tmp_path / 'x.pth', 10)
    summary, printed = look(script, monkeypatch, capsys, tmp_path / 'data',
                            tmp_path / 'x.pth', tmp_path / 'run')
    assert 0 <= summary['knn_top1'] <= 100
    assert told == [
        'Images of 10 channels cannot be drawn, only those of one or three: '
        'there are no pictures.'
    ]
    assert printed.endswith('run: features.npz, summary.json')


def test_the_parts_of_a_folder_are_no_classes(tmp_path, script, monkeypatch,
                                              capsys):
    rng = np.random.default_rng(0)
    for name in ('train/a/0', 'train/b/1', 'Valid/a/2', 'Valid/b/3',
                 'Valid/b/4'):
        path = tmp_path / f'data/{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    save_network(tmp_path / 'x.pth')
    summary, printed = look(script, monkeypatch, capsys, tmp_path / 'data',
                            tmp_path / 'x.pth', tmp_path / 'run')
    assert summary['images'] == 3
    assert 'on 3 of 3 images of Valid/, in' in printed
    found = np.load(tmp_path / 'run/features.npz')
    assert list(found['classes']) == ['a', 'b']


@pytest.mark.parametrize('names, cause',
                         [(['a/0'], 'is only one image that can be read'),
                          (['0', '1'], 'are fewer than two classes'),
                          (['a/0', 'a/1'], 'are fewer than two classes')])
def test_why_there_is_no_knn(names, cause, tmp_path, script, monkeypatch,
                             capsys):
    for name in names:
        path = tmp_path / f'data/{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (40, 40), (99, 9 * len(name), 0)).save(path)
    save_network(tmp_path / 'x.pth')
    summary, printed = look(script, monkeypatch, capsys, tmp_path / 'data',
                            tmp_path / 'x.pth', tmp_path / 'run')
    assert summary['knn_top1'] is None
    assert f'no k-NN, because there {cause}' in printed


@pytest.mark.parametrize('arguments,cause', [
    (['--weights', 'a.pth'], 'give --data DIR'),
    (['--weights', 'a.pth', '--data', '.', '--epochs', '3'
      ], 'leave out --epochs'),
])
def test_options_that_do_not_fit_are_refused(arguments, cause, script,
                                             monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['quickstart.py', *arguments])
    with pytest.raises(SystemExit):
        script.main()
    assert cause in capsys.readouterr().err
