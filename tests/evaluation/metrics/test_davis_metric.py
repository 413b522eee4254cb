"""The measures of DAVIS, and whole tests by tools and Runner."""
import csv

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image

from mmdino.engine.configs import read_config
from mmdino.evaluation.metrics import DAVISMetric
from mmdino.registry import DATASETS, METRICS, MODELS
from tests.davis_tree import moving_square, write_tree
from tests.tiny import MODEL

WRAPPER = dict(type='mmdino.Unwrapped')


def sample(sequence, prediction, truth):
    return dict(
        sequence=sequence,
        pred_masks=torch.from_numpy(prediction),
        gt_masks=truth)


def test_means_are_over_objects_not_over_sequences():
    """J is 1, 1 and 0: a sequence with two objects counts twice."""
    two = np.zeros((4, 40, 60), np.uint8)
    two[:, 5:15, 5:15], two[:, 20:30, 20:40] = 1, 2
    one = np.where(two == 1, two, 0)
    metric = METRICS.build(dict(type='mmdino.DAVISMetric'))
    metric.process(None, [
        sample('kite', two, two),
        sample('bear', np.zeros_like(one), one),
    ])
    scores = metric.evaluate(2)
    assert scores == pytest.approx({
        'davis/jf_mean': 200 / 3,
        'davis/j_mean': 200 / 3,
        'davis/j_recall': 200 / 3,
        'davis/j_decay': 0,
        'davis/f_mean': 200 / 3,
        'davis/f_recall': 200 / 3,
        'davis/f_decay': 0
    })
    assert list(metric.objects) == ['kite_1', 'kite_2', 'bear_1']


def test_errors():
    metric, masks = DAVISMetric(), np.ones((3, 8, 8), np.uint8)
    with pytest.raises(KeyError, match='of kite: use the model VideoSeg'):
        metric.process(None, [dict(sequence='kite', gt_masks=masks)])
    with pytest.raises(KeyError, match='of kite: the data set must give'):
        metric.process(None, [dict(sequence='kite', pred_masks=masks)])
    with pytest.raises(ValueError, match='DAVISMetric got no sequence'):
        metric.evaluate(0)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Three sequences: two ranks get a duplicate."""
    return write_tree(
        tmp_path_factory.mktemp('data') / 'DAVIS',
        kite=moving_square(frames=6),
        bear=moving_square(frames=4, seed=1),
        tree=moving_square(frames=3, seed=2))


def runner_cfg(root, work_dir):
    """The repository's config with the tiny model on small frames."""
    cfg = read_config('configs/benchmarks/davis.py')
    for part in ('backbone', 'data_preprocessor'):
        cfg.model[part] = MODEL[part]
    cfg.test_dataloader.dataset.data_root = str(root)
    cfg.test_dataloader.dataset.pipeline[0].update(short_side=96, divisor=32)
    cfg.test_dataloader.update(num_workers=0)
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = str(work_dir).replace('/', '_')
    return cfg


def run(cfg):
    scores = Runner.from_cfg(cfg).test()
    return {k: v for k, v in scores.items() if k.startswith('davis/')}


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*') if path.is_file()
    }


@pytest.fixture(scope='module')
def one_rank(root, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('one')
    cfg = runner_cfg(root, work_dir)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    checkpoint = work_dir / 'tiny.pth'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    cfg.load_from = str(checkpoint)
    return run(cfg), work_dir / 'davis', checkpoint


def test_follows_a_moving_square(one_rank):
    """An untrained ViT tells textures apart well enough."""
    scores = one_rank[0]
    assert scores['davis/j_mean'] > 95
    assert scores['davis/j_recall'] == 100
    assert scores['davis/jf_mean'] == pytest.approx(
        (scores['davis/j_mean'] + scores['davis/f_mean']) / 2)


def test_files(one_rank, root):
    """The benchmark's layout: a palette PNG a frame, and its two tables."""
    scores, folder, _ = one_rank
    names = [f'masks/kite/{i:05d}.png' for i in range(6)]
    names += [f'masks/bear/{i:05d}.png' for i in range(4)]
    names += [f'masks/tree/{i:05d}.png' for i in range(3)]
    tables = ['global_results-val.csv', 'per-sequence_results-val.csv']
    assert sorted(files(folder)) == sorted(names + tables)
    table, = csv.DictReader(open(folder / tables[0]))
    assert list(table) == [
        'J&F-Mean', 'J-Mean', 'J-Recall', 'J-Decay', 'F-Mean', 'F-Recall',
        'F-Decay'
    ]
    assert float(table['J&F-Mean']) == pytest.approx(
        scores['davis/jf_mean'] / 100, abs=5e-4)
    rows = list(csv.DictReader(open(folder / tables[1])))
    assert [row['Sequence'] for row in rows] == ['kite_1', 'bear_1', 'tree_1']
    assert np.mean([float(row['J-Mean']) for row in rows]) == pytest.approx(
        scores['davis/j_mean'] / 100, abs=1e-3)
    assert list(rows[0]) == ['Sequence', 'J-Mean', 'F-Mean']


def test_masks_score_as_the_metric_says(one_rank, root):
    """Read as the benchmark reads them, the files give the same J."""
    scores, folder, _ = one_rank
    values = []
    for name in ('kite', 'bear', 'tree'):
        frames = sorted((root / 'Annotations/480p' / name).iterdir())[1:-1]
        pairs = [
            np.array(Image.open(path)) == 1 for frame in frames
            for path in (frame, folder / 'masks' / name / frame.name)
        ]
        values.append(
            np.mean([(a & b).sum() / (a | b).sum()
                     for a, b in zip(pairs[::2], pairs[1::2])]))
    assert 100 * np.mean(values) == pytest.approx(scores['davis/j_mean'])


def score_rank(rank, folder, cfg):
    torch.save(run(Config(cfg)), f'rank{rank}.pth')


def test_two_ranks_equal_one(one_rank, root, tmp_path, two_ranks):
    scores, folder, checkpoint = one_rank
    cfg = runner_cfg(root, tmp_path / 'two')
    cfg.update(
        load_from=str(checkpoint),
        launcher='pytorch',
        model_wrapper_cfg=WRAPPER)
    two_ranks(score_rank, tmp_path, cfg.to_dict())
    for rank in range(2):
        assert torch.load(tmp_path / f'rank{rank}.pth') == scores
    assert files(tmp_path / 'two/davis') == files(folder)


def test_config(root):
    DefaultScope.get_instance('test', scope_name='mmdino')
    cfg = read_config('configs/benchmarks/davis.py')
    model = MODELS.build(dict(cfg.model, backbone=MODEL['backbone']))
    assert (model.num_context, model.radius) == (7, 12)
    assert (model.topk, model.temperature) == (5, .1)
    assert cfg.test_dataloader.dataset.data_root == 'data/DAVIS'
    cfg.test_dataloader.dataset.data_root = str(root)
    item = DATASETS.build(cfg.test_dataloader.dataset)[2]
    assert item['inputs'].shape == (3, 3, 480, 768)
