"""Features saved and compared again; lists of the images with labels."""
import json
import os
import shutil
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmdino.datasets.feature_rows import load_features
from mmdino.engine.configs import read_config
from tests.launching import run_job
from tests.tiny import runner_cfg
from tests.tools.test_train_and_test import in_process


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A config and a checkpoint of an untrained tiny model."""
    from mmengine.runner import Runner
    root = tmp_path_factory.mktemp('features')
    cfg = runner_cfg(root / 'unused')
    scenes = read_config('configs/quickstart/dino_vit-tiny_shapescenes.py')
    for key in ('test_dataloader', 'test_cfg'):
        cfg[key] = scenes[key]
    cfg.test_evaluator = dict(type='KNNAccuracy', k=(5, 20))
    cfg.default_scope = 'mmdino'
    for loader, size in ((cfg.test_dataloader, 30),
                         (cfg.test_cfg.gallery_dataloader, 40)):
        loader.update(num_workers=0, batch_size=16)
        loader.dataset.num_images = size
    cfg.dump(root / 'config.py')
    model = Runner.from_cfg(cfg).model
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), root / 'model.pth')
    return root


def test_saved_features_score_as_the_network_does(run):
    out, files = run / 'out.json', run / 'saved'
    in_process('test', run / 'config.py', run / 'model.pth', '--work-dir',
               run / 'net', '--out', out)
    in_process('extract_features', run / 'config.py', run / 'model.pth',
               '--out', files)
    gallery = load_features(files / 'gallery.npz')
    assert gallery.features.shape == (40, 24)
    assert gallery.labels.tolist() == [i % 7 for i in range(40)]
    assert len(gallery.classes) == 7
    assert load_features(files / 'queries.npz').features.shape == (30, 24)

    again = run / 'again.json'
    options = ('--cfg-options',
               f'test_dataloader.dataset.path={files}/queries.npz',
               'test_cfg.gallery_dataloader.dataset.path='
               f'{files}/gallery.npz')
    in_process('test', 'configs/benchmarks/knn_features.py', '--work-dir',
               run / 'rows', '--out', again, *options,
               'test_evaluator.k=(5,20)')
    scores = [{
        k: v
        for k, v in json.loads(p.read_text()).items() if 'time' not in k
    } for p in (out, again)]
    # Saved features have no pixels to compare with.
    beside = {k for k in scores[0] if k.endswith(('_pixels', '_untrained'))}
    assert len(beside) == 8 and len(scores[1]) == 4
    assert {k: scores[0][k] for k in scores[0].keys() - beside} == scores[1]

    in_process('test', 'configs/benchmarks/low-shot_features.py', '--work-dir',
               run / 'rows', '--out', again, *options)
    assert json.loads(again.read_text())['low_shot/c100_top1'] >= 10


def test_files_that_are_there_are_not_computed_again(run):
    files = run / 'kept'
    args = (run / 'config.py', run / 'model.pth', '--out', files)
    in_process('extract_features', *args)
    before = (files / 'gallery.npz').stat().st_mtime_ns
    (files / 'queries.npz').unlink()
    in_process('extract_features', *args)
    assert (files / 'gallery.npz').stat().st_mtime_ns == before
    assert (files / 'queries.npz').exists()

    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        in_process('extract_features', run / 'config.py', 'nowhere.pth',
                   '--out', run / 'none')


def test_the_folder_has_one_option(run, capsys):
    with pytest.raises(SystemExit):
        in_process('extract_features', run / 'config.py', run / 'model.pth',
                   '--work-dir', run / 'x', '--out', run / 'y')
    assert 'there is no option --work-dir' in capsys.readouterr().err


def test_files_of_other_settings_are_refused(run):
    files, other = run / 'own', run / 'other.pth'
    shutil.copy(run / 'model.pth', other)
    args = (run / 'config.py', other, '--out', files)
    in_process('extract_features', *args)
    in_process('extract_features', *args, '--cfg-options',
               'train_cfg.max_epochs=3', 'test_dataloader.num_workers=0')
    with pytest.raises(
            ValueError,
            match="own holds results of other settings: queries, config test_"
            "dataloader.dataset.split: was 'test', now 'val'. Give "
            'another folder'):
        in_process('extract_features', *args, '--cfg-options',
                   'test_dataloader.dataset.split=val')
    checkpoint = torch.load(other)
    for value in checkpoint['state_dict'].values():
        value.add_(1)
    torch.save(checkpoint, other)  # other weights under the same name
    for tool in (('extract_features', *args),
                 ('visualization/nearest', *args[:2], '--features', files)):
        with pytest.raises(ValueError, match='weights model.checkpoint: '):
            in_process(*tool)
    shutil.copy(run / 'model.pth', other)
    in_process('extract_features', *args)
    (files / 'job.json').unlink()
    with pytest.raises(ValueError, match='no job.json'):
        in_process('extract_features', *args)


@pytest.fixture
def pictures(run, tmp_path):
    """A config of image files."""
    cfg = Config.fromfile(run / 'config.py')
    for loader in (cfg.test_dataloader, cfg.test_cfg.gallery_dataloader):
        loader.dataset = dict(
            type='Images',
            data_root=str(tmp_path / 'images'),
            pipeline=[
                dict(type='LoadImage'),
                dict(type='mmpretrain.PackInputs')
            ])
    cfg.dump(tmp_path / 'config.py')
    draw(tmp_path, 0)
    return tmp_path


def draw(root, color):
    for label in 'ab':
        for i in range(3):
            path = root / 'images' / label / f'{i}.bmp'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((32, 32, 3), color, np.uint8)).save(path)


@pytest.mark.parametrize(
    'tool',
    ['extract_features', 'visualization/nearest', 'visualization/tsne'])
def test_other_data_in_the_same_folder(tool, run, pictures):
    out = pictures / 'out'
    args = (tool, pictures / 'config.py', run / 'model.pth', '--out',
            out / 'x.png' if tool.endswith('nearest') else out)
    in_process(*args)
    in_process(*args)
    draw(pictures, 200)  # the same names and sizes
    with pytest.raises(ValueError, match='data test_dataloader: .*delete'):
        in_process(*args)


SLOW_DISK = '''
import time
from mmengine.dist import get_rank
from mmdino.evaluation.metrics import save_features
_save = save_features.save_features
def save(*args):
    assert get_rank() == 0
    time.sleep(3)
    _save(*args)
save_features.save_features = save
'''


def test_two_processes(run, tmp_path):
    """The second one waits for what the first one writes."""
    (tmp_path / 'slow_disk.py').write_text(SLOW_DISK)
    cfg = Config.fromfile(run / 'config.py')
    cfg.custom_imports = dict(imports=['slow_disk'])
    cfg.dump(tmp_path / 'config.py')
    out = run_job(sys.executable, '-m', 'torch.distributed.run',
                  '--standalone',
                  '--nproc_per_node=2', 'tools/extract_features.py',
                  str(tmp_path / 'config.py'), str(run / 'model.pth'), '--out',
                  str(tmp_path / 'two'), '--launcher', 'pytorch')
    assert out.count('gallery: 40 images, 24 features each') == 2
    in_process('extract_features', run / 'config.py', run / 'model.pth',
               '--out', tmp_path / 'one')
    for part in ('gallery', 'queries'):
        one, two = (
            load_features(tmp_path / folder / f'{part}.npz')
            for folder in ('one', 'two'))
        torch.testing.assert_close(one.features, two.features)
        assert one.labels.tolist() == two.labels.tolist()


def test_a_network_needs_its_checkpoint(run):
    with pytest.raises(
            ValueError, match='config.py has weights and no checkpoint'):
        in_process('test', run / 'config.py', '--work-dir', run / 'net')


def test_split_files(tmp_path):
    for label in 'ab':
        for i in range(10):
            path = tmp_path / 'train' / label / f'{label} {i}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    in_process('make_split', tmp_path, '--fraction', .2, '--seed', 3)
    lines = (tmp_path / 'low-shot_0.2_seed3.txt').read_text().splitlines()
    assert [line.split('/')[0] for line in lines] == ['a', 'a', 'b', 'b']
    assert [line[-2:] for line in lines] == [' 0', ' 0', ' 1', ' 1']

    cfg = read_config('configs/benchmarks/low-shot-1.py')
    dataset = cfg.test_cfg.gallery_dataloader.dataset
    from mmdino.datasets import Images
    images = Images(
        str(tmp_path / 'low-shot_0.2_seed3.txt'), subset=dataset.subset)
    assert [images.get_data_info(i)['gt_label']
            for i in range(4)] == [0, 0, 1, 1]
    assert (tmp_path / 'train' / lines[0][:-2]).samefile(
        images.get_data_info(0)['img_path'])

    names = tmp_path / 'few.txt'
    names.write_text('b 3.png\na 1.png\n')
    in_process('make_split', tmp_path, '--names', names)
    assert (tmp_path /
            'low-shot_few.txt').read_text() == 'a/a 1.png 0\nb/b 3.png 1\n'
    names.write_text('b_3.png\n')
    with pytest.raises(FileNotFoundError, match='1 of the 1.*b_3.png'):
        in_process('make_split', tmp_path, '--names', names)


def test_split_of_names_that_are_not_utf8(tmp_path):
    png = np.zeros((4, 4, 3), np.uint8)
    for label in ('a', 'b'):
        folder = tmp_path / 'train' / label
        folder.mkdir(parents=True)
        Image.fromarray(png).save(folder / os.fsdecode(b'\xff.png'))
    in_process('make_split', tmp_path, '--fraction', 1.)
    assert (tmp_path / 'low-shot_1_seed0.txt').read_bytes() == (
        b'a/\xff.png 0\nb/\xff.png 1\n')
    (tmp_path / 'few.txt').write_bytes(b'a/\xff.png\n')
    in_process('make_split', tmp_path, '--names', tmp_path / 'few.txt')
    assert b'/\xff.png' in (tmp_path / 'low-shot_few.txt').read_bytes()


def test_a_split_of_equal_names(tmp_path):
    for path in ('a/0.png', 'b/0.png', 'b/1.png'):
        (tmp_path / 'train' / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(tmp_path / 'train' / path)
    names = tmp_path / 'few.txt'
    names.write_text('a/0.png\n\nelsewhere/1.png\n')
    in_process('make_split', tmp_path, '--names', names)
    assert (tmp_path /
            'low-shot_few.txt').read_text() == 'a/0.png 0\nb/1.png 1\n'
    for name in ('0.png', 'elsewhere/0.png'):
        names.write_text(f'{name}\n')
        with pytest.raises(ValueError, match="2 images .* '0.png' .*CLASS"):
            in_process('make_split', tmp_path, '--names', names)
