"""FSDP: weights, gradients and optimizer moments are sharded over the ranks.

Checkpoints are single files, as without FSDP.
"""
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn as nn
from mmengine._strategy import FSDPStrategy as MMEngineFSDPStrategy
from mmengine.dist import all_gather_object, get_rank, is_main_process
from mmengine.optim import AmpOptimWrapper, BaseOptimWrapper
from mmengine.runner.checkpoint import save_checkpoint
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp.wrap import lambda_auto_wrap_policy

from mmdino.engine.optim import LARS, ClipMixin
from mmdino.models import MeanTeacher
from mmdino.registry import OPTIM_WRAPPERS, STRATEGIES

BLOCKS = ('TransformerEncoderLayer', 'EncoderLayer', 'Block', 'XCABlock',
          'ClassAttentionBlock', 'Bottleneck')


class OneFileMixin:
    """Strategy mixin that writes one checkpoint file, as with DDP.

    The file is written completely or not at all.
    """

    def save_checkpoint(self,
                        filename: str,
                        *,
                        save_optimizer: bool = True,
                        save_param_scheduler: bool = True,
                        extra_ckpt: dict | None = None,
                        callback: Callable | None = None) -> None:
        """Gather the state on all ranks and write it on the first."""
        checkpoint: dict[str, Any] = dict(state_dict=self.model_state_dict())
        if save_optimizer:
            checkpoint['optimizer'] = self.optim_state_dict()
        if save_param_scheduler and hasattr(self, 'param_schedulers'):
            checkpoint['param_schedulers'] = self.scheduler_state_dict()
        checkpoint.update(extra_ckpt or dict(meta={}))
        checkpoint['meta'].update(seed=self.seed)
        if callback is not None:
            callback(checkpoint)
        if is_main_process():
            save_checkpoint(
                checkpoint, filename, backend_args=dict(backend='atomic'))


@STRATEGIES.register_module()
class FSDPStrategy(OneFileMixin, MMEngineFSDPStrategy):
    """MMEngine's FSDP strategy for a :class:`.DINO`, with a correct resume.

    Each part of the student and of the teacher is an FSDP unit of its own, and
    both are sharded alike. A rank holds the same shards of both, so that the
    update of the teacher needs no communication. A checkpoint is a single
    file, the same as with DDP: a run with either can resume it.

    Args:
        blocks: Class names of modules inside a backbone that are units as
            well. A rank gathers only one unit at a time.
        model_wrapper: Arguments of MMEngine's ``MMFullyShardedDataParallel``.
        **kwargs: Other arguments of MMEngine's strategy, such as ``sync_bn``.

    Raises:
        ValueError: If the sharding is not ``FULL_SHARD``, or if the optimizer
            (LARS) or the model (chunked loss, adapters) needs whole
            parameters.
    """

    def __init__(self,
                 *,
                 blocks: Sequence[str] = BLOCKS,
                 model_wrapper: dict | None = None,
                 **kwargs) -> None:
        sharding = (model_wrapper or {}).get('sharding_strategy', 'FULL_SHARD')
        if sharding != 'FULL_SHARD':
            raise ValueError(
                f'mmdino.FSDPStrategy: sharding_strategy={sharding!r} shards '
                'the teacher and the student differently: use '
                "'FULL_SHARD', or DDP if the weights fit on each GPU.")
        self.blocks = set(blocks)
        super().__init__(
            model_wrapper=model_wrapper, state_dict_cfg='full', **kwargs)

    def build_optim_wrapper(
            self,
            optim_wrapper: BaseOptimWrapper | dict,
            model: nn.Module | None = None) -> BaseOptimWrapper:
        """Group the parameters by the shapes that they have unsharded."""
        kind = OPTIM_WRAPPERS.get(optim_wrapper.get('type', 'OptimWrapper'))
        if issubclass(kind, AmpOptimWrapper):
            optim_wrapper.setdefault('use_fsdp', True)
        with FSDP.summon_full_params(model, writeback=False):
            wrapper = super().build_optim_wrapper(optim_wrapper, model)
            self._shapes = [
                param.shape for group in wrapper.optimizer.param_groups
                for param in group['params']
            ]
        if isinstance(wrapper.optimizer, LARS):
            raise ValueError('mmdino.FSDPStrategy: LARS needs the norms of '
                             'whole parameters: use AdamW or SGD, or DDP.')
        if isinstance(wrapper, ClipMixin):
            wrapper.is_sharded = True
        return wrapper

    def optim_state_dict(self) -> dict:
        """Gather the optimizer's state on the first rank, as without FSDP.

        torch's own function cannot handle parameters without moments, such as
        the last layer while it is frozen, and on CPUs it gathers all kinds of
        moments into one buffer.
        """
        own = self.optim_wrapper.state_dict()
        whole = {}
        for i, shape in enumerate(self._shapes):
            pieces = all_gather_object(_on_cpu(own['state'].get(i, {})))
            whole[i] = _join([p for p in pieces if p], shape)
            if not (whole[i] and is_main_process()):
                del whole[i]
        return dict(own, state=whole)

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Load this rank's shards of an optimizer state.

        MMEngine's own method passes its arguments in an order that torch no
        longer accepts.
        """
        sizes = all_gather_object([p.numel() for p in self._params()])
        starts = [sum(size) for size in zip(*sizes[:get_rank()])]
        starts = starts or [0] * len(self._shapes)
        own = {
            i: {
                kind: _cut(value, starts[i], sizes[get_rank()][i])
                for kind, value in moments.items()
            }
            for i, moments in state_dict['state'].items()
            if sizes[get_rank()][i]
        }
        self.optim_wrapper.load_state_dict(dict(state_dict, state=own))

    def load_checkpoint(self, filename: str, **kwargs) -> dict:
        """Load a checkpoint into CPU memory, as it may not fit on a GPU."""
        return super().load_checkpoint(filename,
                                       **dict(kwargs, map_location='cpu'))

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        for option in ('images_per_chunk', 'tokens_per_chunk'):
            number = getattr(model, option, None)
            if number is not None:
                raise ValueError(
                    f'mmdino.FSDPStrategy: {option}={number} needs the whole '
                    'weight of the last layer, which FSDP shards: leave the '
                    'option out, or use DDP.')
        if getattr(model, 'lora', None):
            raise ValueError(
                'mmdino.FSDPStrategy: with model.lora student and teacher '
                'share a backbone, which FSDP cannot shard: use DDP; only the '
                'adapters have gradients and moments.')
        model = self.convert_model(model)
        units = _units(model, self.blocks)
        defaults = dict(
            type='MMFullyShardedDataParallel',
            auto_wrap_policy=partial(
                lambda_auto_wrap_policy, lambda_fn=units.__contains__))
        if not torch.cuda.is_available():
            defaults['device_id'] = torch.device('cpu')
        self.model_wrapper = dict(defaults, **self.model_wrapper or {})
        return super()._wrap_model(model)

    def _params(self) -> list[Tensor]:
        """Return the optimizer's parameters in their order."""
        groups = self.optim_wrapper.optimizer.param_groups
        return [param for group in groups for param in group['params']]


def _units(model: MeanTeacher, blocks: set[str]) -> set[nn.Module]:
    """Return the modules that FSDP wraps: networks, blocks and head layers.

    The layers of heads are units because a head with a predictor is not called
    as a whole.
    """
    parts = [getattr(model, name) for name in model.teacher]
    parts += model.teacher.values()
    heads = [model.teacher[name] for name in model.teacher if 'head' in name]
    units = [
        *parts, *(c for h in [*model.heads, *heads] for c in h.children())
    ]
    units += [
        module for part in parts for module in part.modules()
        if type(module).__name__ in blocks
    ]
    return {unit for unit in units if [*unit.parameters()]}


def _on_cpu(moments: dict[str, Any]) -> dict[str, Any]:
    return {
        kind: value.cpu() if isinstance(value, Tensor) else value
        for kind, value in moments.items()
    }


def _join(pieces: list[dict[str, Any]], shape: torch.Size) -> dict[str, Any]:
    """Join the flat shards of a parameter's moments from all ranks."""
    return {
        kind:
        torch.cat([p[kind] for p in pieces]).view(shape)
        if _is_spread(value) else value
        for kind, value in (pieces[0] if pieces else {}).items()
    }


def _cut(value: Any, start: int, size: int) -> Any:
    """Return this rank's shard of a moment; numbers (the step) are kept."""
    return value.flatten()[start:start + size] if _is_spread(value) else value


def _is_spread(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0
