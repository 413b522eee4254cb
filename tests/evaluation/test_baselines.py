"""What raw pixels and the untrained network reach is said beside figures."""
import copy
import json
import os
import random
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from mmdino.evaluation import baselines
from mmdino.evaluation.baselines import below
from mmdino.registry import DATASETS
from tests.evaluation.test_gallery import WRAPPER
from tests.tiny import runner_cfg

PIPELINE = [
    dict(type='Resize', scale=(32, 32), backend='cv2'),
    dict(type='mmpretrain.PackInputs', algorithm_keys=('gt_mask', ))
]
METRICS = [dict(type='KNNAccuracy', k=(5, 20)), dict(type='AttentionJaccard')]


def loader(split, num_images):
    return dict(
        batch_size=8,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(
            type='ShapeScenes',
            num_images=num_images,
            split=split,
            pipeline=PIPELINE))


def training_cfg(work_dir, **loop):
    cfg = runner_cfg(work_dir, epochs=1, length=4, predict_attention=True)
    cfg.val_dataloader = loader('val', 12)
    cfg.val_cfg = dict(
        type='GalleryValLoop', gallery_dataloader=loader('train', 30), **loop)
    cfg.val_evaluator = METRICS
    return cfg


@pytest.fixture
def val_loop(tmp_path, monkeypatch):

    def build(**options):
        monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
        cfg = training_cfg(tmp_path / 'run', **options)
        runner = Runner.from_cfg(Config(copy.deepcopy(cfg.to_dict())))
        runner.model.init_weights()
        return runner.val_loop

    return build


def test_both_are_measured_once_and_kept(val_loop, tmp_path, monkeypatch):
    loop = val_loop()
    metrics = loop.run()
    pixels, untrained = loop.baselines['pixels'], loop.baselines['untrained']
    assert set(pixels) == {f'knn/k{k}_top{n}' for k in (5, 20) for n in (1, 5)}
    assert set(untrained) == {*pixels, 'attention/jaccard'} == set(metrics)
    kept, = (tmp_path / 'cache/mmdino/baselines').iterdir()
    assert json.loads(kept.read_text()) == loop.baselines
    monkeypatch.delattr(baselines, '_measure')
    assert val_loop().run() and not hasattr(baselines, '_measure')
    with pytest.raises(NameError):  # other images
        val_loop(baseline_images=29).run()


@pytest.mark.parametrize('name,metrics', [('pixels', 1), ('untrained', 2)])
def test_figures_are_those_of_each_model_alone(name, metrics, val_loop):
    loop = val_loop()
    loop.evaluator.metrics = loop.evaluator.metrics[:metrics]
    loop.run()
    network = baselines.network_of(loop.runner)
    models = baselines.Baselines(network, None, True, torch.device('cpu'))
    loop.runner.model = models.models[name]
    assert loop.run() == pytest.approx(loop.baselines[name])


def test_no_random_number_of_the_run_is_used_up(val_loop):
    states = []
    for options in (dict(), dict(baseline_images=0)):
        loop = val_loop(**options)
        torch.manual_seed(3), random.seed(3), np.random.seed(3)
        loop.run()
        states.append(
            [torch.rand(1).item(),
             random.random(),
             np.random.rand()])
    assert states[0] == states[1]
    assert loop.baselines == {}


def test_a_large_gallery_is_cut_evenly(val_loop):
    loop = val_loop(baseline_images=10)
    assert list(baselines.baseline_gallery(loop).dataset.indices) == [
        0, 3, 6, 9, 12, 16, 19, 22, 25, 29
    ]
    loop.run()
    assert loop.baselines['pixels']['knn/k20_top1'] >= 0


@pytest.mark.parametrize('kind', ['Images', 'Shards'])
def test_the_key_follows_the_files(kind, tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    image = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    if kind == 'Images':
        image.save(folder / 'a.png')
    else:
        image.save(tmp_path / 'a.png')
        with tarfile.open(folder / '0.tar', 'w') as shard:
            shard.add(tmp_path / 'a.png', 'a.png')
    config = dict(dataset=dict(type=kind, data_root=str(folder), pipeline=[]))
    dataset = DATASETS.build(dict(config['dataset'], type=f'mmdino.{kind}'))
    before = baselines.data_key(dataset, config)
    assert before == baselines.data_key(dataset, config)
    for path in folder.iterdir():
        os.utime(path, ns=(0, 0))
    assert baselines.data_key(dataset, config) != before
    other = dict(dataset=dict(config['dataset'], subset='a'))
    assert baselines.data_key(dataset, other) != before
    assert baselines.data_key(dataset, dict(dataset=dataset)) is None


def test_two_processes_find_what_one_does(val_loop, two_ranks, tmp_path):
    alone = val_loop()
    alone.run()
    cfg = training_cfg(tmp_path / 'run').to_dict()
    two_ranks(_run_on_rank, tmp_path, cfg, alone.baselines)


def _run_on_rank(rank, folder, cfg, figures):
    cfg = Config(dict(cfg, model_wrapper_cfg=WRAPPER))
    runner = Runner.from_cfg(cfg)
    runner.val_loop.configs = None, None  # not to read what one has kept
    runner.val_loop.run()
    for name, values in figures.items():
        assert runner.val_loop.baselines[name] == pytest.approx(values)


def test_it_is_said_when_training_is_below():
    figures = dict(
        pixels={
            'knn/k10_top1': 30.,
            'knn/k20_top1': 43.8
        },
        untrained={'knn/k20_top1': 25.1})
    said = below(figures, {'knn/k10_top1': 40., 'knn/k20_top1': 29.6})
    assert 'knn/k20_top1 is 29.6, below raw pixels with 43.8 on' in said
    assert below(figures, {'knn/k20_top1': 50.}) is None
    assert below(figures, {'accuracy': 1.}) is None
    assert below({}, {'knn/k20_top1': 50.}) is None


def test_a_training_says_both_once(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, 'below', lambda *_: 'far below')
    monkeypatch.setattr('mmdino.evaluation.gallery.below', baselines.below)
    cfg = training_cfg(tmp_path)
    cfg.train_cfg.update(max_epochs=3, val_interval=1)
    Runner.from_cfg(cfg).train()
    resumed = training_cfg(tmp_path)
    resumed.train_cfg.update(max_epochs=4, val_interval=1)
    resumed.experiment_name += '_resumed'
    resumed.work_dir = str(tmp_path / 'resumed')
    resumed.update(resume=True, load_from=str(tmp_path / 'epoch_3.pth'))
    Runner.from_cfg(resumed).train()
    logs = [
        next(Path(cfg.work_dir).glob('2*/*.log')).read_text()
        for cfg in (cfg, resumed)
    ]
    assert [log.count('far below') for log in logs] == [1, 0]
    assert [log.count('Baselines on the same 12 q') for log in logs] == [1, 0]
    assert [log.count('Gallery of the baselines') for log in logs] == [1, 0]
