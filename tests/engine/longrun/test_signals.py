"""A signal saves and stops soon, wherever the training is."""
import json
import os
import signal

import pytest
import torch
from mmengine.hooks import Hook

from mmdino.engine.launch import build_runner
from mmdino.engine.longrun import checkpoints, signals
from tests.resuming import assert_same, end_of, random_cfg, train


class SignalAt(Hook):
    """Send signals to this process at a moment of the second epoch."""

    def __init__(self, moment, *numbers):
        self.moment = moment
        self.numbers = numbers or (signal.SIGTERM, )

    def send(self, runner, moment):
        if moment == self.moment and runner.iter >= 5:
            self.moment = None
            for number in self.numbers:
                os.kill(os.getpid(), number)

    def after_train_iter(self, runner, *args, **kwargs):
        self.send(runner, 'step')

    def before_val(self, runner):
        self.send(runner, 'before validation')

    def after_val_iter(self, runner, *args, **kwargs):
        self.send(runner, 'validation')

    def after_gallery_iter(self, runner):
        self.send(runner, 'gallery')

    def after_val_epoch(self, runner, metrics):
        self.send(runner, 'end of validation')

    def before_save_checkpoint(self, runner, checkpoint):
        self.send(runner, 'save')


@pytest.fixture(autouse=True)
def interruptible():
    """Background jobs ignore SIGINT."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def validated_cfg(folder):
    """Three epochs of 3 iterations, each with a validation of 3 batches."""
    cfg = random_cfg(folder)
    loader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(
            type='ShapeScenes',
            num_images=12,
            img_size=32,
            pipeline=[dict(type='mmpretrain.PackInputs')]))
    cfg.val_dataloader = loader
    cfg.val_cfg = dict(type='GalleryValLoop', gallery_dataloader=loader)
    cfg.val_evaluator = dict(type='KNNAccuracy', k=(3, ))
    return cfg


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp('undisturbed')
    train(validated_cfg(folder))
    return end_of(folder), figures(folder)


def figures(folder):
    """Those of the last validation, all of which the log shows."""
    log = max(folder.glob('*/vis_data/*.json'), key=os.path.getmtime)
    lines = map(json.loads, log.read_text().splitlines())
    *_, last = (line for line in lines if 'knn/k3_top1' in line)
    times = ('time', 'data_time')
    return {k: v for k, v in last.items() if k not in times}


def stop(cfg, *hooks, status=143):
    with pytest.raises(SystemExit) as caught:
        train(cfg, *hooks)
    assert caught.value.code == status


@pytest.mark.parametrize('moment,at,due',
                         [('step', (1, 6), False), ('save', (2, 6), True),
                          ('before validation', (2, 6), True),
                          ('gallery', (2, 6), True),
                          ('validation', (2, 6), True),
                          ('end of validation', (2, 6), False)])
def test_stop_and_resume(moment, at, due, undisturbed, tmp_path):
    cfg = validated_cfg(tmp_path)
    stop(cfg, SignalAt(moment))
    state = torch.load(tmp_path / 'interrupted.pth', weights_only=False)
    assert (state['meta']['epoch'], state['meta']['iter']) == at
    assert state['message_hub']['runtime_info'][signals.DUE] == due
    train(cfg)
    log = max(tmp_path.glob('*/*.log'), key=os.path.getmtime).read_text()
    assert ('validation of epoch 2 was interrupted' in log) == due
    assert_same(end_of(tmp_path), undisturbed[0])
    assert figures(tmp_path) == undisturbed[1]


def test_the_last_validation_is_done_again(undisturbed, tmp_path):

    class Late(SignalAt):

        def send(self, runner, moment):
            if runner.iter == 9:
                super().send(runner, moment)

    cfg = validated_cfg(tmp_path)
    stop(cfg, Late('gallery'))
    train(cfg)
    assert figures(tmp_path) == undisturbed[1]


@pytest.mark.parametrize('numbers', [(signal.SIGTERM, signal.SIGTERM),
                                     (signal.SIGINT, signal.SIGINT),
                                     (signal.SIGUSR1, signal.SIGTERM)])
def test_launchers_repeat_signals(numbers, tmp_path):
    """The first one counts, also while it saves."""
    cfg = random_cfg(tmp_path)
    stop(cfg, SignalAt('step', *numbers), status=128 + numbers[0])
    assert (tmp_path / 'interrupted.pth').exists()
    stop(
        random_cfg(tmp_path / 'save'),
        SignalAt('save', *numbers),
        status=128 + numbers[0])


def test_a_later_ctrl_c_stops_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(signals, 'PATIENCE', -1.)
    with pytest.raises(KeyboardInterrupt):
        train(
            random_cfg(tmp_path),
            SignalAt('step', signal.SIGTERM, signal.SIGINT))
    assert not (tmp_path / 'interrupted.pth').exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_before_training_a_signal_ends_the_process(tmp_path):
    """Nothing is lost then; reading a checkpoint may take long."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    handlers = []

    class Look(Hook):
        priority = 'VERY_HIGH'

        def before_run(self, runner):
            handlers.append(signal.getsignal(signal.SIGTERM))

        def before_train(self, runner):
            self.before_run(runner)

        def before_train_epoch(self, runner):
            self.before_run(runner)

    train(random_cfg(tmp_path), Look())
    assert handlers[:2] == [signal.SIG_DFL] * 2
    assert handlers[2] is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_failed_training_listens_no_longer(tmp_path):

    class Fail(Hook):

        def after_train_iter(self, runner, *args, **kwargs):
            assert signal.getsignal(signal.SIGINT) is not before
            raise RuntimeError('out of luck')

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match='out of luck'):
        train(random_cfg(tmp_path), Fail())
    assert signal.getsignal(signal.SIGINT) is before


def test_a_slow_save_is_told(monkeypatch):
    lines = []
    monkeypatch.setattr(checkpoints, 'print_log',
                        lambda line, **_: lines.append(line))
    checkpoints.warn_if_slow(14.)
    assert not lines
    checkpoints.warn_if_slow(40.)
    assert 'Saving took 40 s' in lines[0] and '--signal=USR1@300' in lines[0]


def told(folder):
    return max(folder.glob('*/*.log'), key=os.path.getmtime).read_text()


def test_resume_without_a_checkpoint_says_so(tmp_path):
    cfg = random_cfg(tmp_path)
    cfg.resume = 'auto'
    runner = build_runner(cfg)
    assert not runner._resume
    assert (f'no checkpoint in {tmp_path}. The training starts from the beg'
            in told(tmp_path))


def test_a_fresh_start_says_nothing_of_it(tmp_path):
    build_runner(random_cfg(tmp_path))
    assert 'no checkpoint' not in told(tmp_path)
