"""Features saved and compared again; lists of the images with labels."""
import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmdino.datasets.feature_rows import load_features
from tests.tiny import runner_cfg
from tests.tools.test_train_and_test import in_process


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A config and a checkpoint of an untrained tiny model."""
    from mmengine.runner import Runner
    root = tmp_path_factory.mktemp('features')
    cfg = runner_cfg(root / 'unused')
    scenes = Config.fromfile('configs/quickstart/dino_vit-tiny_shapescenes.py')
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
    assert gallery.labels.tolist() == [i % 10 for i in range(40)]
    assert len(gallery.classes) == 10
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
    assert scores[0] == scores[1] and len(scores[0]) == 4

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

    other = run / 'other.pth'
    other.write_bytes((run / 'model.pth').read_bytes())
    with pytest.raises(ValueError, match='kept holds the figures of another'):
        in_process('extract_features', run / 'config.py', other, '--out',
                   files)
    with pytest.raises(ValueError, match='owner.json'):
        in_process('visualization/nearest', run / 'config.py', other,
                   '--features', files)
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        in_process('extract_features', run / 'config.py', 'nowhere.pth',
                   '--out', run / 'none')


def test_a_network_needs_its_checkpoint(run):
    with pytest.raises(ValueError, match='config.py has weights to load'):
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

    cfg = Config.fromfile('configs/benchmarks/low-shot-1.py')
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
