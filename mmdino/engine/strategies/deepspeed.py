"""DeepSpeed as far as it leaves every parameter whole."""
from typing import Optional, Union

import torch.nn as nn
from mmengine._strategy import DeepSpeedStrategy as MMEngineDeepSpeedStrategy
from mmengine._strategy import SingleDeviceStrategy
from mmengine._strategy.deepspeed import \
    DeepSpeedOptimWrapper as MMEngineDeepSpeedOptimWrapper
from mmengine.logging import MessageHub
from mmengine.model import convert_sync_batchnorm
from mmengine.optim import BaseOptimWrapper
from mmengine.runner import weights_to_cpu
from torch.optim import Optimizer

from mmdino.engine.optim import PerParameterClipMixin
from mmdino.registry import OPTIM_WRAPPERS, STRATEGIES
from .one_file import OneFileMixin


class _Wrapper(MMEngineDeepSpeedOptimWrapper):
    """MMEngine's, with what its other optim wrappers have.

    Args:
        optimizer (Optimizer): The optimizer.
        clip_grad (dict, optional): As elsewhere.
    """

    def __init__(self,
                 optimizer: Optimizer,
                 clip_grad: Optional[dict] = None) -> None:
        super().__init__(optimizer)
        self.clip_grad_kwargs = clip_grad
        self.message_hub = MessageHub.get_current_instance()
        if clip_grad:
            optimizer.register_step_pre_hook(lambda *_: self._clip_grad())

    def should_update(self) -> bool:
        """Whether the last batch was stepped on."""
        engine = self.model
        return engine.micro_steps % engine.gradient_accumulation_steps() == 0

    state_dict = BaseOptimWrapper.state_dict
    load_state_dict = BaseOptimWrapper.load_state_dict


@OPTIM_WRAPPERS.register_module()
class DeepSpeedOptimWrapper(PerParameterClipMixin, _Wrapper):
    """Steps by DeepSpeed's engine, clips each gradient by itself."""


@STRATEGIES.register_module()
class DeepSpeedStrategy(OneFileMixin, MMEngineDeepSpeedStrategy):
    """MMEngine's DeepSpeed for a :class:`DINO`, in float32.

    DINO clips and freezes parameter by parameter, and ZeRO and DeepSpeed's
    half precision hand the optimizer one flat vector of all: use
    :class:`FSDPStrategy` for them. Here the learning rate is scaled to the
    batch as elsewhere, and the checkpoint is that of DDP: either resumes the
    other's. DeepSpeed's own would be unpickled without restriction.

    Args:
        sync_bn (str, optional): 'torch' or 'mmcv', to synchronise BatchNorm.
        **kwargs: MMEngine's strategy's, such as
            ``gradient_accumulation_steps``.

    Raises:
        ValueError: If the settings flatten the parameters.
    """

    def __init__(self, *, sync_bn: Optional[str] = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.sync_bn = sync_bn

    def build_optim_wrapper(
            self,
            optim_wrapper: Union[BaseOptimWrapper, dict],
            model: Optional[nn.Module] = None) -> BaseOptimWrapper:
        """Build ours in place of others, scale its learning rate."""
        cfg = dict(optim_wrapper, type='mmdino.DeepSpeedOptimWrapper')
        self.optim_wrapper = super().build_optim_wrapper(cfg, model)
        self._scale_lr()
        return self.optim_wrapper

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        self.config['train_micro_batch_size_per_gpu'] = (
            self.dispatch_kwargs.get('train_micro_batch_size_per_gpu', 1))
        if self.sync_bn is not None:
            model = convert_sync_batchnorm(model, self.sync_bn)
        wrapped = super()._wrap_model(model)
        optimizer = getattr(wrapped, 'optimizer', None)
        if optimizer is not None and not isinstance(optimizer, Optimizer):
            raise ValueError(
                'mmdino.DeepSpeedStrategy: these settings make DeepSpeed '
                f'flatten the parameters ({type(optimizer).__name__}). Leave '
                'out zero_optimization, fp16 and bf16, or use '
                'mmdino.FSDPStrategy.')
        return wrapped

    def model_state_dict(self) -> dict:
        """That of the model without the engine around it."""
        return weights_to_cpu(self.model.module.state_dict())

    # Not those of DeepSpeed's folders.
    load_checkpoint = SingleDeviceStrategy.load_checkpoint
    resume = SingleDeviceStrategy.resume
