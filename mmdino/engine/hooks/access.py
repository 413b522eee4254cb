"""Access to the model and the loop of a runner, for hooks."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor, nn
from torch.distributed.fsdp import FullStateDictConfig
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import StateDictType

from mmdino.models import DINO, MeanTeacher


def dino_model(runner: Runner, kind: type = DINO) -> MeanTeacher:
    """Return ``runner.model`` without its wrapper, such as DDP.

    Args:
        runner: The runner.
        kind: The expected class: :class:`.DINO`, or :class:`.MeanTeacher` for
            hooks that need only a student and a teacher.

    Raises:
        TypeError: If the model is not of this class.
    """
    model = runner.model
    if not isinstance(model, kind) and is_model_wrapper(model):
        model = model.module
    if not isinstance(model, kind):
        raise TypeError(f"mmdino's hooks need a mmdino.{kind.__name__}, but "
                        f'the model is a {type(model).__name__}: remove the '
                        'hooks from default_hooks, or change model.type.')
    return model


def require_epochs(runner: Runner, hook: Hook) -> None:
    """Raise an error if a train loop does not count epochs.

    In other loops ``runner.epoch`` stays 0, and a phase that lasts for some
    epochs would never end.

    Args:
        runner: The runner.
        hook: The hook, for the error message.

    Raises:
        TypeError: If the loop is not an ``EpochBasedTrainLoop``.
    """
    if not isinstance(runner.train_loop, EpochBasedTrainLoop):
        raise TypeError(
            f'{type(hook).__name__} counts epochs, but train_cfg builds a '
            f'{type(runner.train_loop).__name__}: use '
            "train_cfg.type='ResumableTrainLoop' (or 'EpochBasedTrainLoop') "
            'with max_epochs instead of max_iters.')


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the whole state dict on every rank, also with FSDP.

    All ranks must call this function together.
    """
    if not FSDP.fsdp_modules(model):
        return model.state_dict()
    with FSDP.state_dict_type(
            model, StateDictType.FULL_STATE_DICT,
            FullStateDictConfig(offload_to_cpu=True, rank0_only=False)):
        return model.state_dict()
