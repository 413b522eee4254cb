"""Building of a Runner from a config, on one process or several."""
import gc
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch.distributed.elastic.multiprocessing.errors import (ErrorHandler,
                                                              record)

from mmdino.engine.hooks import NetworkHook
from mmdino.engine.longrun.checkpoints import find_last_good
from mmdino.engine.testing import fill_sizes, model_class
from mmdino.models import MeanTeacher
from mmdino.registry import HOOKS
from mmdino.weights import require_resumable, use_safe_loading
from mmdino.weights.io import replaced

AMP = dict(
    fp16=dict(
        OptimWrapper='AmpOptimWrapper',
        PerNetworkClipOptimWrapper='PerNetworkClipAmpOptimWrapper',
        PerParameterClipOptimWrapper='PerParameterClipAmpOptimWrapper'),
    bf16=dict(
        PerNetworkClipOptimWrapper='PerNetworkClipBFloat16OptimWrapper',
        PerParameterClipOptimWrapper='PerParameterClipBFloat16OptimWrapper'))

# MMEngine adds these hooks to every run, unless their entry is None.
MMENGINE_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger',
                  'param_scheduler', 'checkpoint')


def use_amp(cfg: Config, precision: str = 'fp16') -> None:
    """Switch a config to mixed precision.

    Args:
        cfg: Changed in place.
        precision: 'fp16', with a loss scale and on GPUs only, or 'bf16'.

    Raises:
        RuntimeError: If fp16 is asked for and there is no GPU.
        ValueError: If the optim wrapper has no variant of this precision.
    """
    if precision == 'fp16' and not torch.cuda.is_available():
        raise RuntimeError('--amp needs a GPU, and torch sees none: train '
                           'without it.')
    kinds = AMP[precision]
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    kind = kind.removeprefix('mmdino.')
    if kind not in {*kinds, *kinds.values()}:
        raise ValueError(f'--amp={precision} cannot be used with the optim '
                         f'wrapper {kind!r}: use one of {sorted(kinds)}.')
    cfg.optim_wrapper.type = kinds.get(kind, kind)
    if precision == 'fp16':
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def use_tf32(cfg: Config) -> None:
    """Let GPUs multiply float32 in TF32, unless ``tf32=False``.

    TF32 rounds the factors of matrix products and convolutions to 10 bits of
    mantissa; the products are summed in float32. CPUs are not affected.

    Args:
        cfg: Config, whose top-level setting ``tf32`` is read.
    """
    if torch.cuda.is_available():
        is_on = cfg.get('tf32', True)
        torch.set_float32_matmul_precision('high' if is_on else 'highest')
        torch.backends.cudnn.allow_tf32 = is_on


def build_runner(cfg: Config, testing: bool = False) -> Runner:
    """Build the Runner of a config, also for several processes on CPUs.

    The Runner reads checkpoints without running any code in them, and loads
    all weights or raises an error.

    Args:
        cfg: Changed in place. With ``resume='auto'`` the last intact
            checkpoint of the work dir is resumed rather than ``load_from``. If
            there is none, a warning says so and the training starts anew, so
            that automatic restarts can always use the same command.
        testing: Whether the model is only to be tested.

    Raises:
        CheckpointError: If the checkpoint to resume is not one of a run.
        ValueError: If all checkpoints of the work dir are damaged, or
            processes on CPUs were not started by torchrun.
    """
    use_safe_loading()
    use_tf32(cfg)
    resume = cfg.get('resume')
    if resume == 'auto' or resume and not cfg.get('load_from'):
        resume_last(cfg)
    if cfg.get('resume') and cfg.get('load_from'):
        require_resumable(cfg.load_from)
    add_hooks(cfg, testing)
    if cfg.launcher != 'none' and not torch.cuda.is_available():
        distribute_on_cpu(cfg)
    if cfg.launcher != 'none' and getattr(
            model_class(cfg), 'is_frozen', False):
        cfg.model_wrapper_cfg = dict(type='mmdino.Unwrapped')
    fill_sizes(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(
        cfg)
    runner.logger.info('The log file in this folder also has the environment, '
                       f'the config and the hooks: {runner.log_dir}')
    if resume and not cfg.resume:
        start = cfg.load_from or 'the beginning'
        runner.logger.warning(f'--resume: there is no checkpoint in '
                              f'{cfg.work_dir}. The training starts from '
                              f'{start}.')
    return runner


def add_hooks(cfg: Config, testing: bool = False) -> None:
    """Add the hooks that each run has, where the config has none of the name.

    Args:
        cfg: Changed in place: ``default_hooks``. A ``network`` that is a
            :class:`.NetworkHook`, also of a class of one's own, is told
            ``testing``.
        testing: Whether the model is only to be tested.
    """
    hooks = dict(cfg.get('default_hooks') or {})
    hooks.setdefault('network', dict(type='mmdino.NetworkHook'))
    hooks.setdefault('resume', dict(type='mmdino.ResumeHook'))
    if not issubclass(model_class(cfg), MeanTeacher):
        hooks.setdefault('classes', dict(type='mmdino.ClassesHook'))
    network = hooks['network']
    if isinstance(network, dict) and issubclass(
            HOOKS.get(network['type']) or object, NetworkHook):
        hooks['network'] = dict(dict(testing=testing), **network)
    cfg.default_hooks = remaining_hooks(hooks)


def remaining_hooks(hooks: dict) -> dict:
    """Return ``default_hooks`` without those that None switches off.

    MMEngine leaves out its own hooks itself, and needs to see their None.

    Args:
        hooks: Hooks by their names.
    """
    return {
        name: hook
        for name, hook in hooks.items()
        if hook is not None or name in MMENGINE_HOOKS
    }


def resume_last(cfg: Config) -> None:
    """Resume from the last intact checkpoint in the work dir, if any.

    Args:
        cfg: Changed in place: ``resume`` and ``load_from``.

    Raises:
        ValueError: If all checkpoints are damaged.
    """
    last = find_last_good(cfg.work_dir)
    cfg.resume = last is not None
    cfg.load_from = last or cfg.get('load_from')


def distribute_on_cpu(cfg: Config) -> None:
    """Set up the process group and the model wrapper for CPUs.

    Those of MMEngine need CUDA devices.

    Args:
        cfg: Changed in place.

    Raises:
        ValueError: If the launcher is not torchrun.
    """
    if cfg.launcher != 'pytorch':
        raise ValueError(f'--launcher {cfg.launcher} needs GPUs; on CPUs use '
                         'tools/dist_train.sh or tools/dist_test.sh.')
    if not torch.distributed.is_initialized():
        timeout = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
        torch.distributed.init_process_group(
            'gloo', timeout=timeout and timedelta(seconds=timeout))
    wrapper = cfg.get('model_wrapper_cfg') or {}
    ddp = 'MMDistributedDataParallel'
    if wrapper.get('type', ddp) == ddp:
        cfg.model_wrapper_cfg = dict(
            dict(
                type=ddp,
                device_ids=None,
                broadcast_buffers=False,
                find_unused_parameters=cfg.get('find_unused_parameters',
                                               False)), **wrapper)
    # torch has no synchronised BatchNorm for CPUs. Each process normalises by
    # its own images, and SyncBuffersHook averages the running statistics after
    # each epoch.
    cfg.sync_bn = None
    if 'strategy' in cfg:
        cfg.strategy.sync_bn = None
    _replace_sync_bn(cfg.model)
    cfg.custom_hooks = [
        *cfg.get('custom_hooks', []),
        dict(type='SyncBuffersHook')
    ]


def _replace_sync_bn(node: Any) -> None:
    """Replace SyncBN in a model's config by BN, in place."""
    if isinstance(node, dict):
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
        for child in node.values():
            _replace_sync_bn(child)
    elif isinstance(node, (list, tuple)):
        for child in node:
            _replace_sync_bn(child)


def leave_process_group() -> None:
    """Wait for all processes and leave their group.

    Otherwise a process may abort at exit: if another process is already gone,
    or if its DDP model is deleted after the group. Does nothing in a single
    process.
    """
    if torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def report_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let torchrun show the error of the process that failed first.

    Args:
        function: The main function of a process.

    Returns:
        The function, which now writes its error to torchrun's error file.
    """
    return record(function, _WholeErrorFile())


class _WholeErrorFile(ErrorHandler):
    """Writes torchrun's error file completely or not at all.

    When a process is killed, the others fail as well, and torchrun may end
    them while they write their error files. An empty error file would make
    torchrun itself fail, although the job had restarts left.
    """

    def record_exception(self, e: BaseException) -> None:
        path = self._get_error_file_path()
        if path is None:
            super().record_exception(e)
            return
        with replaced(path) as part:
            os.environ['TORCHELASTIC_ERROR_FILE'] = part
            super().record_exception(e)
