"""Weights, gradients and moments spread over the ranks, in one checkpoint."""
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Union

import torch
import torch.nn as nn
from mmengine._strategy import FSDPStrategy as MMEngineFSDPStrategy
from mmengine.dist import all_gather_object, is_main_process
from mmengine.optim import AmpOptimWrapper, BaseOptimWrapper
from mmengine.runner.checkpoint import save_checkpoint
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp.wrap import lambda_auto_wrap_policy

from mmdino.engine.optim import LARS, PerParameterClipMixin
from mmdino.models import DINO
from mmdino.registry import OPTIM_WRAPPERS, STRATEGIES

BLOCKS = ('TransformerEncoderLayer', 'Block', 'XCABlock',
          'ClassAttentionBlock', 'Bottleneck')


@STRATEGIES.register_module()
class FSDPStrategy(MMEngineFSDPStrategy):
    """MMEngine's FSDP for a :class:`DINO`, whose resume it mends.

    The parts of the student and those of the teacher are units of their own,
    cut alike: a rank then holds the same pieces of both, and the teacher
    moves without a word between the ranks. The checkpoint is one file, that
    of DDP: either resumes the other's.

    Args:
        blocks (Sequence[str]): Classes of the modules inside a backbone that
            are units, too. Only one unit at a time is whole on a rank.
        model_wrapper (dict, optional): Arguments of MMEngine's
            ``MMFullyShardedDataParallel``.
        **kwargs: The rest of MMEngine's strategy, such as ``sync_bn``.

    Raises:
        ValueError: If the sharding is not ``FULL_SHARD``, or the optimizer
            needs whole parameters.
    """

    def __init__(self,
                 *,
                 blocks: Sequence[str] = BLOCKS,
                 model_wrapper: Optional[dict] = None,
                 **kwargs) -> None:
        sharding = (model_wrapper or {}).get('sharding_strategy', 'FULL_SHARD')
        if sharding != 'FULL_SHARD':
            raise ValueError(
                f'mmdino.FSDPStrategy: sharding_strategy={sharding!r} leaves '
                "the teacher and the student cut differently; use 'FULL_SHARD'"
                ', or DDP where the weights fit on each GPU.')
        self.blocks = set(blocks)
        super().__init__(
            model_wrapper=model_wrapper, state_dict_cfg='full', **kwargs)

    def build_optim_wrapper(self,
                            optim_wrapper: Union[BaseOptimWrapper, dict],
                            model: Optional[nn.Module] = None
                            ) -> BaseOptimWrapper:
        """Group the parameters by their whole shapes, not those of pieces."""
        kind = OPTIM_WRAPPERS.get(optim_wrapper.get('type', 'OptimWrapper'))
        if issubclass(kind, AmpOptimWrapper):
            optim_wrapper.setdefault('use_fsdp', True)
        with FSDP.summon_full_params(model, writeback=False):
            wrapper = super().build_optim_wrapper(optim_wrapper, model)
        if isinstance(wrapper.optimizer, LARS):
            raise ValueError('mmdino.FSDPStrategy: LARS needs the norms of '
                             'whole parameters; use AdamW or SGD, or DDP.')
        if isinstance(wrapper, PerParameterClipMixin):
            wrapper.is_sharded = True
        return wrapper

    def save_checkpoint(self,
                        filename: str,
                        *,
                        save_optimizer: bool = True,
                        save_param_scheduler: bool = True,
                        extra_ckpt: Optional[dict] = None,
                        callback: Optional[Callable] = None) -> None:
        """Gather on all ranks; the first one writes, all or nothing."""
        checkpoint: Dict[str, Any] = dict(state_dict=self.model_state_dict())
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

    def optim_state_dict(self) -> dict:
        """That of all ranks, keyed by number as without FSDP; on rank 0."""
        own = self.optim_wrapper.state_dict()
        number = {name: i for i, name in enumerate(self._names())}
        state: Dict[int, dict] = {}
        for kind in _kinds(own['state']):
            for name, value in self._gather(kind, own).items():
                state.setdefault(number[name], {}).update(value)
        return dict(own, state=state) if is_main_process() else {}

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Take this rank's part of one that is keyed by number.

        MMEngine passes the arguments in an order that torch gave up.
        """
        names = self._names()
        named = dict(
            state={names[i]: s
                   for i, s in state_dict['state'].items()},
            param_groups=[
                dict(group, params=[names[i] for i in group['params']])
                for group in state_dict['param_groups']
            ])
        optimizer = self.optim_wrapper.optimizer
        own = FSDP.optim_state_dict_to_load(self.model, optimizer, named)
        self.optim_wrapper.load_state_dict(dict(state_dict, **own))

    def _gather(self, kind: str, own: dict) -> Dict[str, dict]:
        """One kind of moment of all parameters by name, on rank 0.

        On a CPU torch gathers all kinds into one buffer: the last one wins.
        """
        pieces = {i: {kind: s[kind]} for i, s in own['state'].items()}
        optimizer = self.optim_wrapper.optimizer
        whole = FSDP.optim_state_dict(
            self.model, optimizer,
            dict(param_groups=own['param_groups'], state=pieces))
        return {name: s for name, s in whole.get('state', {}).items() if s}

    def _wrap_model(self, model: nn.Module) -> nn.Module:
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

    def _names(self) -> List[str]:
        """Names of the optimizer's parameters in the order of its groups."""
        name_of = {
            param: name.replace('_fsdp_wrapped_module.', '')
            for name, param in self.model.named_parameters()
        }
        return [
            name_of[param] for group in self.optim_wrapper.optimizer.param_groups
            for param in group['params']
        ]


def _kinds(state: Dict[int, dict]) -> List[str]:
    """What an optimizer keeps for a parameter of any rank."""
    kinds = {kind for moments in state.values() for kind in moments}
    return sorted(set().union(*all_gather_object(kinds)))


def _units(model: DINO, blocks: Set[str]) -> Set[nn.Module]:
    """The parts of both networks, and the blocks in them."""
    parts = [getattr(model, name) for name in model.teacher]
    parts += model.teacher.values()
    inner = (
        module for part in parts for module in part.modules()
        if type(module).__name__ in blocks)
    return {part for part in (*parts, *inner) if [*part.parameters()]}
