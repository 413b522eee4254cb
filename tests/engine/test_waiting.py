"""How often a step makes the host wait, and the ranks talk."""
import collections
import os

import pytest
import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from torch.overrides import TorchFunctionMode

from mmdino.engine.hooks import runtime_info
from mmdino.engine.launch import build_runner
from tests.launching import ROOT
from tests.ranks import run_ranks
from tests.tiny import runner_cfg

# What reads a tensor on the host: a GPU would be waited for.
READS = {
    'item', 'tolist', 'cpu', 'numpy', '__bool__', '__int__', '__float__',
    '__index__', '__format__', '__array__', 'nonzero', 'equal', 'is_nonzero'
}
STEPS = 6


class CountReads(TorchFunctionMode):
    """Count them; the :class:`HostCopy`, which a GPU has sent, aside."""

    def __init__(self):
        super().__init__()
        self.reads = collections.Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, '__name__', '')
        if name in READS:
            self.reads[name] += 1
        return func(*args, **kwargs or {})


class CountSteps(Hook):
    """From before a step's hooks to after its last one, but the first two."""
    priority = 'HIGHEST'

    def __init__(self):
        self.mode = CountReads()
        self.late, self.talk = 0, collections.Counter()

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 2:
            self.mode.__enter__()
            self.patches = pytest.MonkeyPatch()
            read = runtime_info.HostCopy.read

            def count_late(copy):
                self.late += 1
                with torch._C.DisableTorchFunction():
                    return read(copy)

            self.patches.setattr(runtime_info.HostCopy, 'read', count_late)
            for name in ('all_reduce', 'all_gather', 'broadcast',
                         'all_gather_object', 'barrier'):
                self.patches.setattr(dist, name, self.counted(name))
                self.patches.setattr(torch.distributed, name,
                                     getattr(dist, name))

    def counted(self, name):
        function = getattr(dist, name)

        def call(*args, **kwargs):
            self.talk[name] += 1
            return function(*args, **kwargs)

        return call


class Stop(Hook):
    """The end of what is counted."""
    priority = 'LOWEST'

    def __init__(self, count):
        self.count = count

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter == 1 + STEPS:
            self.count.mode.__exit__(None, None, None)
            self.count.patches.undo()


def counted(folder, **changes):
    """Reads, late reads and collectives of six steps."""
    cfg = runner_cfg(folder, epochs=1, length=80, batch_size=4)
    cfg.launcher = 'pytorch' if dist.is_initialized() else 'none'
    cfg.default_hooks.logger.interval = 50
    cfg.merge_from_dict(changes)
    # It asks all ranks for signals, of CPUs.
    cfg.default_hooks.pop('preemption')
    runner = build_runner(cfg)
    count = CountSteps()
    runner.register_hook(count)
    runner.register_hook(Stop(count))
    runner.train()
    return count


@pytest.mark.parametrize('changes', [
    dict(),
    {
        'optim_wrapper.clip_grad': None
    },
    {
        'optim_wrapper.accumulative_counts': 2
    },
    dict(optim_wrapper=dict(type='PerParameterClipBFloat16OptimWrapper')),
])
def test_a_step_does_not_wait(changes, tmp_path):
    count = counted(tmp_path, **changes)
    assert not count.mode.reads
    steps = STEPS // changes.get('optim_wrapper.accumulative_counts', 1)
    assert count.late == STEPS + steps  # of the log, and whether it was lost


def test_other_optimizers_wait_once(tmp_path):
    count = counted(tmp_path, **{'optim_wrapper.optimizer.fused': False})
    # Beside torch's own look at its counters of steps, which a CPU keeps.
    del count.mode.reads['item']
    assert dict(count.mode.reads) == dict(__bool__=STEPS)


def on_two(rank, folder):
    os.chdir(ROOT)  # of the configs
    count = counted(folder / 'run')
    assert not count.mode.reads
    # The model's sums and the figures of the log, beside DDP's own.
    assert dict(count.talk) == dict(all_reduce=2 * STEPS)


def test_two_ranks_talk_twice_a_step(tmp_path):
    run_ranks(on_two, tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_is_not_waited_for(tmp_path):

    class Raise(Hook):
        """Wherever torch would wait, from the third step on."""
        priority = 'HIGHEST'

        def before_train_iter(self, runner, *args, **kwargs):
            if runner.iter == 2:
                torch.cuda.set_sync_debug_mode('error')

    class Allow(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter == 1 + STEPS:
                torch.cuda.set_sync_debug_mode('default')

    cfg = runner_cfg(tmp_path, epochs=1, length=80, batch_size=4)
    cfg.launcher = 'none'
    cfg.default_hooks.logger.interval = 50
    cfg.model.data_preprocessor.non_blocking = True
    cfg.train_dataloader.pin_memory = True
    runner = build_runner(cfg)
    runner.register_hook(Raise())
    runner.register_hook(Allow())
    try:
        runner.train()
    finally:
        torch.cuda.set_sync_debug_mode('default')
