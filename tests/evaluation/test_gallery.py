import os

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.utils.data import Dataset

from mmdino.utils.progress import track

WRAPPER = dict(
    type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)


class Points(Dataset):
    """Points of 8 clusters, two of them close to each other."""

    def __init__(self, size, seed, labelled=True):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(size) % 8 if labelled else None
        centers = torch.eye(8)[torch.arange(size) % 8 // 2]
        self.points = centers + .5 * torch.randn(size, 8, generator=generator)

    def __len__(self):
        return len(self.points)

    def __getitem__(self, index):
        sample = DataSample()
        if self.labels is not None:
            sample.set_gt_label(int(self.labels[index]))
        return dict(inputs=self.points[index], data_samples=sample)


class Doubler(BaseModel):

    def __init__(self, key='feature'):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.))
        self.key = key

    def forward(self, inputs, data_samples, mode):
        assert not self.training and not torch.is_grad_enabled()
        for sample, point in zip(data_samples, self.scale * inputs):
            sample.set_field(point, self.key, dtype=torch.Tensor)
        return data_samples


class Recorder(BaseMetric):
    """Keeps the gallery it was given."""
    default_prefix = 'recorder'

    def set_gallery(self, gallery):
        self.share = len(gallery.features)
        self.gallery = gallery.whole()

    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return dict(queries=len(results))


def loader(dataset, **sampler):
    return dict(
        dataset=dataset,
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False, **sampler),
        collate_fn=dict(type='default_collate'))


def build(work_dir, mode='val', gallery=None, model=None, **kwargs):
    gallery = gallery or loader(Points(41, 0))
    loop = f'mmdino.Gallery{mode.title()}Loop'
    recorder = Recorder()
    evaluator = [dict(type='mmdino.KNNAccuracy', k=(1, 5)), recorder]
    phase = {
        f'{mode}_dataloader': loader(Points(23, 1)),
        f'{mode}_evaluator': evaluator,
        f'{mode}_cfg': dict(type=loop, gallery_dataloader=gallery)
    }
    runner = Runner(
        model or Doubler(),
        str(work_dir),
        randomness=dict(seed=0),
        experiment_name=f'{os.path.basename(work_dir)}_{mode}',
        **phase,
        **kwargs)
    return runner, recorder


@pytest.mark.parametrize('mode', ['val', 'test'])
def test_metrics_get_the_gallery(tmp_path, mode):
    runner, recorder = build(tmp_path, mode)
    result = getattr(runner, mode)()
    features, labels = recorder.gallery
    assert features.equal(2 * Points(41, 0).points)
    assert labels.equal(Points(41, 0).labels)
    assert result['recorder/queries'] == 23
    assert 0 < result['knn/k5_top1'] < result['knn/k5_top5'] <= 100
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert log.count('Gallery [') == 1 and 'Gallery [11/11]' in log


class Swap(Hook):
    """Other weights for the time of an evaluation, as EMAHook has them."""

    def before_val_epoch(self, runner):
        runner.model.scale.data.fill_(3.)

    before_test_epoch = before_val_epoch


@pytest.mark.parametrize('mode', ['val', 'test'])
def test_hooks_swap_the_weights_for_the_gallery_too(tmp_path, mode):
    runner, recorder = build(tmp_path, mode)
    runner.register_hook(Swap())
    getattr(runner, mode)()
    assert recorder.gallery[0].equal(3 * Points(41, 0).points)


def test_unlabelled_gallery(tmp_path):
    gallery = loader(Points(9, 0, labelled=False))
    runner, recorder = build(tmp_path, gallery=gallery)
    runner.val_evaluator.metrics.pop(0)
    runner.val()
    assert recorder.gallery[1] is None


def test_errors(tmp_path):
    runner, _ = build(tmp_path, model=Doubler(key='other'))
    with pytest.raises(KeyError, match='no `feature`'):
        runner.val()
    runner, _ = build(
        tmp_path, gallery={
            **loader(Points(3, 0)), 'drop_last': True
        })
    with pytest.raises(ValueError, match='gave no batch'):
        runner.val()


def validate_rank(rank, folder):
    for round_up in (True, False):
        runner, recorder = build(
            folder / f'two_{round_up}',
            gallery=loader(Points(41, 0), round_up=round_up),
            launcher='pytorch',
            cfg=dict(model_wrapper_cfg=WRAPPER))
        outcome = runner.val(), *recorder.gallery
        torch.save(outcome, f'rank{rank}_{round_up}.pth')


def test_two_ranks_equal_one(tmp_path, two_ranks):
    """41 images do not divide by 2: a duplicate is cut, or a rank is short."""
    runner, recorder = build(tmp_path / 'one')
    wanted = runner.val()
    two_ranks(validate_rank, tmp_path)
    outcomes = list(tmp_path.glob('rank*.pth'))
    assert len(outcomes) == 4
    for outcome in outcomes:
        result, features, labels = torch.load(outcome)
        assert features.equal(recorder.gallery[0])
        assert labels.equal(recorder.gallery[1])
        scores = {k: v for k, v in result.items() if 'time' not in k}
        assert scores == {k: v for k, v in wanted.items() if 'time' not in k}


def test_progress_tells_the_time_left(monkeypatch):
    clock, lines = iter([0., 4., 11., 12., 13., 14.]), []
    monkeypatch.setattr('mmdino.utils.progress.time.monotonic',
                        lambda: next(clock))
    monkeypatch.setattr('mmdino.utils.progress.print_log',
                        lambda line, logger: lines.append(line))
    assert list(track([7, 8, 9, 10], 'Step')) == [7, 8, 9, 10]
    assert lines == ['Step [2/4]  eta: 0:00:11', 'Step [4/4]  time: 14.0 s']
