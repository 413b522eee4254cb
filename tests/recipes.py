"""What a recipe comes to: its settings, and its schedules by iteration."""
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.runner import BaseLoop, Runner

from mmdino.models import DINO
from mmdino.registry import HOOKS

PARTS = ('model', 'train_dataloader', 'val_dataloader', 'val_cfg',
         'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator',
         'optim_wrapper', 'train_cfg', 'auto_scale_lr', 'default_hooks',
         'sync_bn', 'env_cfg', 'randomness')
ITERATIONS = 7  # of an epoch


def flatten(node: Any, name: str = '') -> dict[str, Any]:
    """Leaves of a config by their dotted names."""
    if isinstance(node, dict) and node:
        items = node.items()
    elif isinstance(node, (list, tuple)) and node:
        items = enumerate(node)
    else:
        return {name: node}
    return {
        path: value
        for key, child in items
        for path, value in flatten(child, f'{name}.{key}'.strip('.')).items()
    }


def settings(cfg: Config) -> dict[str, Any]:
    """All numbers of a recipe but those of its schedules."""
    parts = cfg.to_dict()
    return flatten({name: parts.get(name) for name in PARTS})


def schedules(cfg: Config) -> dict[str, list[float]]:
    """Values at the begin of some iterations, most of them early ones.

    Returns:
        ``lr``, ``weight_decay`` of a decayed and an undecayed group,
        ``momentum`` and ``teacher_temp``; learning rates before they are
        scaled to the batch.
    """
    init_default_scope('mmdino')
    epochs = cfg.train_cfg.max_epochs
    last = epochs * ITERATIONS
    wanted = {
        *range(12), *range(68, 73), *range(0, last, last // 25), last - 1
    }
    optimizer = cfg.optim_wrapper.optimizer
    groups = [
        dict(params=[torch.nn.Parameter(torch.zeros(1))], weight_decay=decay)
        for decay in (optimizer.weight_decay, 0.)
    ]
    wrapper = OptimWrapper(torch.optim.SGD(groups, lr=optimizer.lr))
    builder = SimpleNamespace(
        _train_loop=Mock(spec=BaseLoop),
        max_epochs=epochs,
        max_iters=last,
        train_dataloader=range(ITERATIONS),
        logger=Mock())
    schedulers = Runner._build_param_scheduler(builder, cfg.param_scheduler,
                                               wrapper)
    hooks = [
        HOOKS.build(cfg.default_hooks[k]) for k in ('teacher', 'centering')
    ]
    scalars = {}
    runner = SimpleNamespace(
        model=Mock(spec=DINO, centerings=[Mock()]),
        optim_wrapper=Mock(),
        train_dataloader=range(ITERATIONS),
        max_iters=last,
        message_hub=Mock(update_scalar=scalars.__setitem__))
    values = {}
    for runner.iter in range(last):
        runner.epoch = runner.iter // ITERATIONS
        for hook in hooks:
            hook.before_train_iter(runner, 0)
            hook.after_train_iter(runner, 0)
        if runner.iter in wanted:
            now = wrapper.optimizer.param_groups
            now = dict(
                lr=now[0]['lr'],
                weight_decay=now[0]['weight_decay'],
                undecayed=now[1]['weight_decay'],
                momentum=scalars['train/momentum'],
                teacher_temp=scalars['train/teacher_temp'])
            for key, value in now.items():
                values.setdefault(key, []).append(value)
        wrapper.optimizer._global_step = runner.iter  # it steps
        for scheduler in schedulers:
            scheduler.step()
    return values
