"""Dumps of a training step, and their replay."""
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmdino.models import MeanTeacher, total_loss
from mmdino.registry import MODELS
from mmdino.weights import load_checkpoint
from mmdino.weights.config import require_registered


class Step:
    """A record of all that is needed to repeat a step.

    Attributes:
        loss (Tensor): The loss of the step, of shape ().
    """

    def begin(self, model: MeanTeacher) -> None:
        """Record the state before the forward pass."""
        self._random = dict(cpu=torch.get_rng_state())
        device = next(model.parameters()).device.type
        if device == 'cuda':
            self._random['cuda'] = torch.cuda.get_rng_state()
        self._autocast = str(torch.get_autocast_dtype(device)).removeprefix(
            'torch.') if torch.is_autocast_enabled(device) else None

    def end(self, inputs: list[Tensor], loss: Tensor) -> None:
        """Record the inputs and the loss after the forward pass."""
        self._inputs = inputs
        self.loss = loss.detach()

    def save(self, path: str, cfg: Config, state: dict[str, Tensor],
             teacher_temp: float, iteration: int) -> None:
        """Write the step with the model's state.

        Args:
            path: File to write, for :func:`replay`.
            cfg: Config of the run, whose ``model`` is stored.
            state: The model's state dict from before the step.
            teacher_temp: Temperature of the teacher in the step.
            iteration: Number of the step, counted from 1.
        """
        torch.save(
            dict(
                model=cfg.to_dict()['model'],
                iteration=iteration,
                state_dict=state,
                teacher_temp=teacher_temp,
                inputs=self._inputs,
                loss=self.loss,
                autocast=self._autocast,
                random_state=self._random), path)


class Replay(NamedTuple):
    """The results of a repeated step; values that are not finite are bad."""
    iteration: int  # counted from 1
    recorded_loss: float  # loss of the step in the training
    loss: float  # loss of the repeated step
    bad_inputs: list[int]  # indices of views
    bad_parameters: list[str]
    first_bad_module: str | None  # in the order of the forward pass
    bad_gradients: list[str]  # names of parameters


def replay(path: str, device: str = 'cpu') -> Replay:
    """Repeat the forward and backward pass of a dump.

    Args:
        path: A file that :class:`.NonFiniteHook` wrote. No code in it is run,
            and components of one's own must be imported before.
        device: Where to run the step. Random numbers and rounding agree only
            on the kind of device that wrote the file.
    """
    dump = load_checkpoint(path, device)
    require_registered(dump['model'], path)
    model = _build(dump, device)
    bad_modules = _watch(model)
    autocast = torch.autocast(
        device.split(':')[0], getattr(
            torch, dump['autocast'])) if dump['autocast'] else nullcontext()
    _set_random_state(dump['random_state'], device)
    with autocast:
        loss = total_loss(model(dump['inputs'], mode='loss'))
    loss.backward()
    return Replay(
        iteration=dump['iteration'],
        recorded_loss=float(dump['loss']),
        loss=float(loss),
        bad_inputs=[
            i for i, view in enumerate(dump['inputs'])
            if not view.isfinite().all()
        ],
        bad_parameters=_bad(dict(model.named_parameters())),
        first_bad_module=bad_modules[0] if bad_modules else None,
        bad_gradients=_bad({
            name: p.grad
            for name, p in model.named_parameters() if p.grad is not None
        }))


def _build(dump: dict[str, Any], device: str) -> MeanTeacher:
    state = dump['state_dict']
    model = MODELS.build(dump['model'])
    wide = torch.float64 in {value.dtype for value in state.values()}
    model.to(device, dtype=torch.float64 if wide else torch.float32)
    model.load_state_dict(state)
    for centering in model.centerings:
        centering.temperature = dump['teacher_temp']
    model.train()
    return model


def _watch(model: nn.Module) -> list[str]:
    """Collect the names of modules whose output is not finite, in order."""
    names = []

    def note(name: str) -> Any:

        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            if isinstance(output, Tensor) and not output.isfinite().all():
                names.append(name)

        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(note(name))
    return names


def _set_random_state(state: dict[str, Tensor], device: str) -> None:
    torch.set_rng_state(state['cpu'].cpu())
    if device.startswith('cuda') and 'cuda' in state:
        torch.cuda.set_rng_state(state['cuda'].cpu())


def _bad(tensors: dict[str, Tensor]) -> list[str]:
    return [name for name, t in tensors.items() if not t.isfinite().all()]
