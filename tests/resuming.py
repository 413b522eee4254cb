"""A training run with every kind of randomness, to be stopped anywhere."""
import copy
import itertools
import os
import random
import signal

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmdino.engine.launch import build_runner
from tests.tiny import runner_cfg

ITERATIONS = 9
RUNS = itertools.count()


@HOOKS.register_module(force=True)
class DrawsAfterEpochs(Hook):
    """As a validation does; a resumed run misses it."""

    def after_train_epoch(self, runner):
        torch.rand(3), np.random.rand(3), random.random()


class StopAfter(Hook):
    """Send this process a signal after an iteration, counted from 1."""

    def __init__(self, iteration, number=signal.SIGTERM):
        self.iteration, self.number = iteration, number

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter + 1 == self.iteration:
            os.kill(os.getpid(), self.number)


def random_cfg(work_dir, workers=0, accumulate=1):
    """Three epochs of 10 augmented pictures in uneven batches of 4."""
    cfg = runner_cfg(
        work_dir,
        epochs=3,
        backbone__drop_path_rate=.5,
        head__use_bn=True,
        head__norm_last_layer=False)
    jitter = dict(
        type='ColorJitter',
        brightness=.4,
        contrast=.4,
        saturation=.2,
        hue=.1,
        prob=.8)
    views = dict(
        global_1=dict(
            num_views=2,
            crop=dict(type='RandomResizedCrop', size=32, scale=(.4, 1.)),
            pipeline=[jitter, dict(type='GaussianBlur', prob=.5)]),
        local=dict(
            num_views=2,
            crop=dict(type='RandomResizedCrop', size=16, scale=(.1, .4)),
            pipeline=[dict(type='HorizontalFlip')]))
    cfg.train_dataloader.pop('dataset')
    cfg.train_dataloader.update(
        num_workers=workers,
        persistent_workers=workers > 0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(
            type='ShapeScenes',
            num_images=10,
            img_size=32,
            pipeline=dict(
                type='MultiCrop',
                views=views,
                after=[dict(type='mmpretrain.PackInputs')])))
    cfg.launcher = 'none'
    cfg.optim_wrapper.accumulative_counts = accumulate
    cfg.custom_hooks = [dict(type='DrawsAfterEpochs')]
    cfg.custom_imports = dict(imports=['tests.resuming'])
    return cfg


def train(cfg, *hooks):
    """Train, from the last checkpoint if there is one."""
    torch.set_num_threads(1)
    cfg = copy.deepcopy(cfg)
    cfg.resume = cfg.get('resume') or True
    # One log a run: MMEngine's names have the second in them.
    cfg.experiment_name += f'_{next(RUNS)}'
    runner = build_runner(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()


def train_interruptibly(cfg, *hooks):
    """Also below a background job, which ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    train(cfg, *hooks)


def end_of(work_dir):
    """What the last checkpoint holds beside the log."""
    state = torch.load(work_dir / 'epoch_3.pth', weights_only=False)
    assert state['meta']['iter'] == ITERATIONS
    return {k: v for k, v in state.items() if k not in ('meta', 'message_hub')}


def assert_same(ours, expected, name=''):
    """Bit by bit, through all dicts and lists."""
    assert type(ours) is type(expected), name
    if isinstance(expected, dict):
        assert ours.keys() == expected.keys(), name
        for key in expected:
            assert_same(ours[key], expected[key], f'{name}.{key}')
    elif isinstance(expected, (list, tuple)):
        assert len(ours) == len(expected), name
        for i, pair in enumerate(zip(ours, expected)):
            assert_same(*pair, f'{name}.{i}')
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(ours, expected), name
    else:
        assert ours == expected, name
