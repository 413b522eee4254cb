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
        kind: :class:`DINO`, or :class:`MeanTeacher` where a student and its
            average are all that is needed.

    Raises:
        TypeError: If it is none.
    """
    model = runner.model
    if not isinstance(model, kind) and is_model_wrapper(model):
        model = model.module
    if not isinstance(model, kind):
        raise TypeError("mmdino's hooks train a mmdino.DINO, but the model is "
                        f'a {type(model).__name__}: remove them from '
                        'default_hooks or change model.type.')
    return model


def require_epochs(runner: Runner, hook: Hook) -> None:
    """Raise an error if a train loop does not count epochs.

    Raises:
        TypeError: If the loop is not an ``EpochBasedTrainLoop``: its epoch
            would stay 0, and what lasts for epochs would never end.
    """
    if not isinstance(runner.train_loop, EpochBasedTrainLoop):
        raise TypeError(
            f'{type(hook).__name__} counts epochs, but train_cfg builds a '
            f'{type(runner.train_loop).__name__}: use by_epoch=True.')


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the whole state dict on every rank, also with FSDP.

    All ranks call it together.
    """
    if not FSDP.fsdp_modules(model):
        return model.state_dict()
    with FSDP.state_dict_type(
            model, StateDictType.FULL_STATE_DICT,
            FullStateDictConfig(offload_to_cpu=True, rank0_only=False)):
        return model.state_dict()
