"""Functions that put a checkpoint into a config, for testing and training."""
import inspect
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmdino.engine.configs import loaders, read_config
from mmdino.models import FrozenTeacher, MeanTeacher
from mmdino.registry import MODELS
from mmdino.weights import find_checkpoint, open_weights, resolve_network
from mmdino.weights.infer import build_empty

SIZES = ('size', 'scale')  # arguments of transforms, in pixels


def use_checkpoint(cfg: Config, checkpoint: str | None) -> None:
    """Let a config test the weights of a checkpoint, all of them.

    A DINO is replaced by the frozen teacher alone. A config of a
    :class:`.FrozenTeacher` need not describe the network: the checkpoint does.
    Other models, such as a segmentor, are loaded by MMEngine, and must fit
    completely.

    Args:
        cfg: Changed in place.
        checkpoint: A file of any known format; None for a model without
            weights, or one whose config names the file.
    """
    kind = model_class(cfg)
    if issubclass(kind, MeanTeacher):
        cfg.model = frozen(cfg.model)
        kind = FrozenTeacher
    if not issubclass(kind, FrozenTeacher) and (
            'checkpoint' not in inspect.signature(kind).parameters):
        cfg.load_from = checkpoint
        return
    cfg.model.checkpoint = checkpoint or cfg.model.get('checkpoint')


def start_from(cfg: Config, checkpoint: str) -> None:
    """Let a training start from the weights of a checkpoint.

    A DINO loads all of them; a classifier, a linear probe, a segmentor or a
    detector loads those of its backbone.

    Args:
        cfg: Changed in place.
        checkpoint: A file or a name, see :mod:`mmdino.weights.sources`.

    Raises:
        ValueError: If the config has no setting for the weights.
    """
    kind = model_class(cfg)
    backbone = cfg.model.get('backbone') or {}
    pretrained = backbone.get('init_cfg') or {}
    if 'checkpoint' in inspect.signature(kind).parameters:
        cfg.model.checkpoint = checkpoint
    elif issubclass(kind, MeanTeacher):
        cfg.load_from = find_checkpoint(checkpoint)
    elif 'checkpoint' in pretrained:
        pretrained.checkpoint = checkpoint
    else:
        raise ValueError(
            f'{cfg.model.type} cannot use --checkpoint {checkpoint}: its '
            'config has neither `checkpoint` nor a backbone with '
            "init_cfg=dict(type='Pretrained', ...). Add one; see "
            'docs/transfer.md.')


def model_class(cfg: Config) -> type:
    """Return the class of ``cfg.model``, or ``object`` if it is unknown."""
    scope = cfg.get('default_scope') or 'mmdino'
    with MODELS.switch_scope_and_registry(scope) as registry:
        return registry.get(cfg.model.type) or object


def frozen(model: dict) -> dict:
    """Return the config of the :class:`FrozenTeacher` of a DINO's config."""
    kept = ('backbone', 'neck', 'data_preprocessor', 'predict_attention')
    return dict(
        type='mmdino.FrozenTeacher',
        **{key: model[key]
           for key in kept if model.get(key) is not None})


def given_network(config: str | None) -> dict:
    """Return the arguments of a :class:`.FrozenTeacher` that a config has.

    Args:
        config: A file, or the name of a packaged config. For None the dict is
            empty.
    """
    given = frozen(read_config(config).model) if config else {}
    given.pop('type', None)
    return given


def fill_sizes(cfg: Config) -> None:
    """Fill in image sizes that transforms take from the checkpoint.

    Sizes that are None become the image size that ``model.checkpoint`` stores
    (that of its training, or of its authors' evaluation), and ``patch=None``
    becomes the side of its patches. For a frozen network, sizes that a
    benchmark fixes are rounded to the nearest multiple of the patch size.

    Args:
        cfg: Changed in place.
    """
    steps = [
        step for loader in loaders(cfg)
        for dataset in _dicts(loader['dataset'])
        for step in _dicts(dataset.get('pipeline'))
    ]
    unsized = [
        step for step in steps if any(
            step.get(key, 0) is None for key in (*SIZES, 'patch'))
    ]
    fixed = [step for step in steps if _is_fixed(step)]
    checkpoint = cfg.model.get('checkpoint')
    is_frozen = issubclass(model_class(cfg), FrozenTeacher)
    if not checkpoint or not (unsized or fixed and is_frozen):
        return
    given = dict(backbone=cfg.model.get('backbone'))
    network = resolve_network(open_weights(checkpoint, given=given), given)
    known = dict.fromkeys(SIZES, network['preprocessing']['size'])
    patch = getattr(build_empty(network['backbone']), 'patch_size', 1)
    if any('patch' in step for step in unsized):
        known['patch'] = patch
    filled = {}
    for step in unsized:
        new = {k: v for k, v in known.items() if step.get(k, 0) is None}
        step.update(new)
        filled.update(new)
    if filled:
        in_words = ', '.join(f'{k} {value} px' for k, value in filled.items())
        print_log(
            f'Image sizes are those of the training of {checkpoint}: '
            f'{in_words}.',
            logger='current')
    if is_frozen:
        _fit_patches(fixed, patch)


def _is_fixed(step: dict) -> bool:
    """Return whether a step of a pipeline fixes both sides of the images."""
    kind = step.get('type', '').rpartition('.')[2]
    return kind == 'LoadSequence' or (kind == 'Resize' and isinstance(
        step.get('scale'), (list, tuple)) and not step.get('keep_ratio'))


def _fit_patches(steps: list[dict], patch: int) -> None:
    """Round image sizes to multiples of the patch, and log it."""
    moved = {}
    for step in steps:
        if 'scale' in step:
            old = tuple(step['scale'])
            new = tuple(round(side / patch) * patch for side in old)
            step['scale'] = new
        else:
            old = step.get('short_side', 480), step.get('divisor', 64)
            new = old
            if old[1] % patch or old[0] % patch:
                new = round(old[0] / patch) * patch, patch
            step.update(short_side=new[0], divisor=new[1])
        if new != old:
            moved[old[0]] = new[0]
    for old, new in moved.items():
        print_log(
            f'The image size {old} px of the benchmark is not a multiple of '
            f'the patch size {patch} px: {new} px are used.',
            logger='current')


def _dicts(node: Any) -> list[dict]:
    """Return all dicts in a pipeline, at any depth."""
    if isinstance(node, dict):
        return [node] + [d for child in node.values() for d in _dicts(child)]
    if isinstance(node, (list, tuple)):
        return [d for child in node for d in _dicts(child)]
    return []
