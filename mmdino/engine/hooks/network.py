"""Checkpoints that describe their network and are loaded completely."""
import logging
import os.path as osp

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmdino.engine.hooks.access import whole_state
from mmdino.models import MeanTeacher
from mmdino.registry import HOOKS
from mmdino.weights import (CheckpointError, Weights, check_fit,
                            describe_network, resolve_network, sort_out)
from mmdino.weights.adapters import KEY as ADAPTERS_KEY
from mmdino.weights.adapters import digest, is_adapter, told_adapters
from mmdino.weights.keys import StateDict, add_prefix, name_keys
from mmdino.weights.network import with_base

# Parts that the file of the first weights may lack: they are then initialised.
NEW = ('head.', 'patch_head.', 'teacher.head.', 'teacher.patch_head.',
       'centering.', 'patch_centering.', 'predictor.', 'class_projector.',
       'patch_projector.')


@HOOKS.register_module()
class NetworkHook(Hook):
    """Store the network's config in checkpoints, and load only complete ones.

    MMEngine only warns about weights that are missing, left over or of another
    shape. Here they are an error when a model is tested and when a run is
    resumed. A pretraining may start (``load_from``) from a file of any known
    format, and only its heads and centres may be missing. The start of another
    training, such as that of a classifier, is left to MMEngine.

    Args:
        testing: Whether the model is only to be tested.

    Raises:
        CheckpointError: If the weights do not fit the model.
    """

    def __init__(self, testing: bool = False) -> None:
        self.testing = testing

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store the network config in ``meta``."""
        model = _unwrapped(runner)
        network = getattr(model, 'network_cfg', None) or describe_network(
            runner.cfg)
        if network:
            checkpoint['meta']['network'] = network
        if getattr(model, 'lora', None):
            _note_adapters(model, checkpoint)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Rename loaded tensors to the model's names and check them.

        Raises:
            CheckpointError: If the weights do not fit the model.
        """
        model, path = _unwrapped(runner), str(runner._load_from)
        is_start = isinstance(model, MeanTeacher) and not runner._resume
        if is_start and not self.testing:
            weights = sort_out(checkpoint, path)
            resolve_network(
                weights, {
                    key: runner.cfg.model.get(key)
                    for key in ('backbone', 'neck', 'data_preprocessor')
                })
            expected = whole_state(model)
            if model.lora:
                model.base = _describe_base(weights, path)
            checkpoint['state_dict'], new = _to_start_from(
                weights, expected, one_base=bool(model.lora))
            if new:
                print_log(
                    f'{path} has no {name_keys(new, 4)}: these are '
                    'initialised at random.',
                    logger='current',
                    level=logging.WARNING)
            check_fit(model, {
                **{
                    key: expected[key]
                    for key in new
                },
                **checkpoint['state_dict']
            }, path, expected)
        elif self.testing or runner._resume:
            if getattr(model, 'lora', None):
                _restore_base(model, checkpoint, path)
            state = checkpoint.get('state_dict', checkpoint)
            check_fit(model, state, path, whole_state(model))


def _to_start_from(weights: Weights,
                   expected: StateDict,
                   one_base: bool = False) -> tuple[StateDict, list[str]]:
    """Return the state to train from, and the names of tensors it lacks.

    If the file has no student, as a snapshot of the teacher, both student and
    teacher get the teacher's weights. With ``one_base`` both backbones always
    do, as adapters need it.
    """
    state = dict(weights.state)
    for part in ('backbone', 'neck'):
        tensors = weights.part(part)
        for prefix in (f'{part}.', f'teacher.{part}.'):
            if (one_base and part == 'backbone'
                    or not any(key.startswith(prefix) for key in state)):
                state.update(add_prefix(tensors, prefix))
    new = [
        key for key in expected
        if key not in state and (key.startswith(NEW) or is_adapter(key)
                                 or key.endswith('backbone.mask_token'))
    ]
    return state, new


def _describe_base(weights: Weights, path: str) -> dict:
    """Describe the file that adapters start from."""
    tensors = weights.part('backbone')
    path = osp.abspath(path) if osp.exists(path) else path
    return dict(name=path, sha256=digest(tensors), names=[*tensors])


def _note_adapters(model: MeanTeacher, checkpoint: dict) -> None:
    """Store the description of the adapters and their base.

    The weights of the base are left out if they come from a file.
    """
    told = dict(scale=model.lora.scale, base=model.base)
    checkpoint['meta'][ADAPTERS_KEY] = told
    if model.base is None or model.lora.save_base:
        return
    base = {
        f'{prefix}backbone.{name}'
        for name in model.base['names']
        for prefix in ('', 'teacher.')
    }
    checkpoint['state_dict'] = {
        key: value
        for key, value in checkpoint['state_dict'].items() if key not in base
    }


def _restore_base(model: MeanTeacher, checkpoint: dict, path: str) -> None:
    """Add the weights of the base to a checkpoint of adapters.

    Raises:
        CheckpointError: If the adapters were scaled differently, or the base
            cannot be found.
    """
    state = checkpoint['state_dict']
    told = told_adapters(checkpoint.get('meta', {}), state, path)
    if told is None:
        return
    if told['scale'] != model.lora.scale:
        raise CheckpointError(
            f'{path} was trained with adapters scaled by {told["scale"]}, but '
            f'model.lora has alpha / rank = {model.lora.scale}: resume with '
            'the alpha and rank of that run.')
    model.base = told['base']
    checkpoint['state_dict'] = with_base(state, told, path)


def _unwrapped(runner: Runner):
    model = runner.model
    return model.module if is_model_wrapper(model) else model
