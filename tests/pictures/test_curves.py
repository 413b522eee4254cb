import json
import math

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from PIL import Image

from mmdino.pictures.curves import draw_curves, read_scalars


def write(path, lines):
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(json.dumps(line) for line in lines))


def train_lines(first, last, value):
    return [
        dict(loss=value, lr=1e-3, iter=i, epoch=1, step=i)
        for i in range(first, last + 1)
    ]


def test_validation_stands_at_the_iteration_before_it(tmp_path):
    write(tmp_path / 'a/vis_data/scalars.json', [{
        'knn/k20_top1': 10.,
        'step': 0
    }, *train_lines(1, 4, 2.), {
        'knn/k20_top1': 60.,
        'step': 1
    }])
    scalars = read_scalars(tmp_path)
    assert scalars['knn/k20_top1'] == [(0, 10.), (4, 60.)]
    assert scalars['loss'] == [(i, 2.) for i in range(1, 5)]


def test_a_resumed_run_replaces_what_it_repeats(tmp_path):
    write(tmp_path / 'a/vis_data/scalars.json', train_lines(1, 5, 1.))
    write(tmp_path / 'b/vis_data/scalars.json', train_lines(4, 6, 2.))
    write(tmp_path / 'c/vis_data/scalars.json', [{
        'knn/k20_top1': 1,
        'step': 0
    }])
    scalars = read_scalars(tmp_path)
    assert scalars['loss'] == [(1, 1.), (2, 1.), (3, 1.), (4, 2.), (5, 2.),
                               (6, 2.)]
    assert 'knn/k20_top1' not in scalars


class Constant(BaseModel):

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples=None, mode='loss'):
        return dict(loss=self.weight.sum(), kl=torch.tensor(.5))


def test_reads_what_a_runner_writes(tmp_path):
    Runner(
        Constant(),
        str(tmp_path),
        train_dataloader=dict(
            dataset=[dict(inputs=torch.ones(1))] * 6,
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler')),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=.125)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        visualizer=dict(
            type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        experiment_name='test_curves').train()
    scalars = read_scalars(tmp_path)
    assert scalars['lr'] == [(i, .125) for i in range(1, 7)]
    assert scalars['kl'] == [(i, .5) for i in range(1, 7)]
    assert [i for i, _ in scalars['loss']] == [1, 2, 3, 4, 5, 6]


def test_figure(tmp_path):
    log = tmp_path / 'a/vis_data/scalars.json'
    write(log, train_lines(1, 40, 2.))
    figure = draw_curves(log, tmp_path / 'curves.png', num_prototypes=64)
    assert Image.open(tmp_path / 'curves.png').width > 1000
    assert len(figure.axes) == 6
    loss, entropy, _, lr, _, _ = figure.axes
    assert loss.lines[0].get_ydata().tolist() == [2.] * 40
    assert loss.lines[1].get_ydata() == pytest.approx([math.log(64)] * 2)
    assert lr.get_title() == 'Learning rate'
    assert '`teacher_entropy` was not logged' in [
        text.get_text() for text in entropy.texts
    ]


def test_missing_log(tmp_path):
    with pytest.raises(FileNotFoundError, match='LocalVisBackend'):
        read_scalars(tmp_path)
