"""LoRA: low-rank adapters on a frozen backbone (arXiv 2106.09685).

Letters: r rank, D_in and D_out widths of a linear layer.
"""
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from mmdino.registry import MODELS
from mmdino.weights.adapters import ADAPTERS


class LoRALinear(nn.Linear):
    """A frozen linear layer plus a trained update of rank r.

    y = W x + b + scale B A x (Hu et al. 2021, sec. 4.1). W and b are the
    parameters of the given layer and keep their names ``weight`` and
    ``bias``. A is ``lora_a`` (r, D_in), initialised as the weight of an
    ``nn.Linear``; B is ``lora_b`` (D_out, r), zero at first, so that the
    output does not change before the first step.

    Args:
        linear: The layer to adapt. Its parameters are shared, not copied.
        rank: r.
        scale: Factor of the update.

    Attributes:
        is_adapted (bool): Whether ``forward`` adds the update.
    """

    def __init__(self, linear: nn.Linear, rank: int, scale: float) -> None:
        nn.Module.__init__(self)
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.weight = linear.weight
        self.register_parameter('bias', linear.bias)
        self.scale = scale
        self.lora_a = nn.Parameter(
            linear.weight.new_empty(rank, self.in_features))
        self.lora_b = nn.Parameter(
            linear.weight.new_zeros(self.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.is_adapted = True

    def forward(self, x: Tensor) -> Tensor:
        """Transform (..., D_in) to (..., D_out)."""
        out = super().forward(x)
        if not self.is_adapted:
            return out
        return out + self.scale * F.linear(
            F.linear(x, self.lora_a), self.lora_b)


@MODELS.register_module()
class LoRA:
    """Freeze a ViT and put low-rank adapters on some of its linear layers.

    Set it with ``model.lora=dict(type='LoRA')`` in any :class:`MeanTeacher`,
    such as :class:`DINO`. Student and teacher then share the frozen weights,
    which are in memory once, and the teacher averages the adapters only.
    :mod:`mmdino.weights`, and so every export and evaluation, reads the
    checkpoint as a plain network with the adapters merged.

    Args:
        rank: r, the same for all adapters.
        alpha: The update is scaled by alpha / r.
        targets: Layers to adapt, by the end of their names. The default are
            the attention layers of mmdino's and timm's ViTs.
        save_base: Save the frozen weights in checkpoints as well. By default a
            checkpoint holds the name of the file that the training started
            from and the hash of its tensors; that file is then needed to open
            the checkpoint.

    Raises:
        ValueError: If ``rank`` or ``alpha`` is not positive; on a call, if no
            layer has such a name.
    """

    def __init__(self,
                 rank: int = 8,
                 alpha: float = 8.,
                 targets: Sequence[str] = ('attn.qkv', 'attn.proj'),
                 save_base: bool = False) -> None:
        for name, value in dict(rank=rank, alpha=alpha).items():
            if not value > 0:
                raise ValueError(f'LoRA: {name} must be > 0, got {value}')
        self.rank = rank
        self.scale = alpha / rank
        self.targets = tuple(targets)
        self.save_base = save_base

    def __call__(self, backbone: nn.Module) -> None:
        """Freeze the backbone and replace its layers, in place."""
        backbone.requires_grad_(False)
        names = [
            name for name, layer in backbone.named_modules()
            if isinstance(layer, nn.Linear)
        ]
        for target in self.targets:
            chosen = [n for n in names if f'.{n}'.endswith(f'.{target}')]
            if not chosen:
                raise ValueError(
                    f'LoRA: {type(backbone).__name__} has no linear layer '
                    f'whose name ends in {target!r}. The names of its linear '
                    f'layers end in {_endings(names) or "nothing: none"}. Set '
                    'model.lora.targets.')
            for name in chosen:
                parent, _, child = name.rpartition('.')
                parent = backbone.get_submodule(parent)
                setattr(
                    parent, child,
                    LoRALinear(getattr(parent, child), self.rank, self.scale))


def share_base(student: nn.Module, teacher: nn.Module) -> None:
    """Let the teacher share the student's tensors, except for the adapters.

    Args:
        student: A backbone with adapters.
        teacher: A backbone with the same layers, changed in place.
    """
    for ours, theirs in zip(student.modules(), teacher.modules()):
        theirs._buffers.update(ours._buffers)
        theirs._parameters.update({
            name: parameter
            for name, parameter in ours._parameters.items()
            if name not in ADAPTERS
        })


@contextmanager
def adapters_off(backbone: nn.Module) -> Iterator[None]:
    """Run a backbone without its adapters, as it was before training."""
    layers = [m for m in backbone.modules() if isinstance(m, LoRALinear)]
    for layer in layers:
        layer.is_adapted = False
    try:
        yield
    finally:
        for layer in layers:
            layer.is_adapted = True


def _endings(names: Sequence[str]) -> list[str]:
    """Return the last two parts of the names, sorted, each once."""
    return sorted({'.'.join(name.split('.')[-2:]) for name in names})
