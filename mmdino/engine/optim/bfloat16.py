"""Mixed precision in bfloat16, which needs no loss scaling."""
import logging
from contextlib import contextmanager
from typing import Iterator

import torch
import torch.nn as nn
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper

from mmdino.registry import OPTIM_WRAPPERS
from .per_parameter_clip import PerParameterClipMixin


def has_bf16_units(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 rather than imitate it."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type != 'cpu' or torch.ops.mkldnn._is_mkldnn_bf16_supported()


@OPTIM_WRAPPERS.register_module()
class PerParameterClipBFloat16OptimWrapper(PerParameterClipMixin,
                                           OptimWrapper):
    """Per-parameter clipping, forward under autocast to bfloat16.

    On GPUs and, unlike MMEngine's ``AmpOptimWrapper``, on CPUs. Warns where
    the device has no units for it: there a step takes many times as long as
    in float32.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._checked = False

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the model in mixed precision."""
        device = next(model.parameters()).device
        if not self._checked:
            self._checked = True
            _warn_without_units(device)
        with super().optim_context(model), torch.autocast(
                device.type, torch.bfloat16):
            yield


def _warn_without_units(device: torch.device) -> None:
    if not has_bf16_units(device):
        print_log(
            f'This {device.type} has no units for bfloat16 and imitates it, '
            'many times slower than float32: train with '
            "type='PerParameterClipOptimWrapper'.",
            logger='current',
            level=logging.WARNING)
