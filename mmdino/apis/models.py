"""Trained models by their names or files."""
import fnmatch
import os.path as osp
from typing import Dict, List, NamedTuple, Optional

import torch
from mmengine.config import Config
from mmengine.fileio import load
from mmengine.registry import DefaultScope, init_default_scope

from mmdino.models import DINO
from mmdino.registry import MODELS
from mmdino.utils.resources import find_config, resource
from mmdino.weights import CheckpointError, load_checkpoint
from mmdino.weights.config import read_plain_config
from mmdino.weights.infer import head_cfg
from mmdino.weights.keys import name_keys, strip_prefix


def get_model(name: Optional[str] = None,
              checkpoint: Optional[str] = None,
              device: Optional[str] = None) -> DINO:
    """Build a model and load its weights.

    Nothing is downloaded: the file has to be there.

    Args:
        name: A name of :func:`list_models`, a config file, or the name of a
            packaged config; by default the config that MMEngine keeps in the
            checkpoint.
        checkpoint: Checkpoint of mmdino; for a published model by default
            checkpoints/NAME.pth.
        device: By default the GPU if there is one.

    Returns:
        DINO: In eval mode; the config is its attribute ``cfg``.

    Raises:
        FileNotFoundError: If there is no such file; says where to get it and
            how to convert it.
        ValueError: If a config comes without a checkpoint, or a checkpoint
            that holds no config without one.
        CheckpointError: If the weights are not this model's.
    """
    published = {model.name: model for model in list_models()}.get(name)
    if published is not None:
        checkpoint = checkpoint or published.checkpoint
        _require(published, checkpoint)
    if checkpoint is None:
        raise ValueError(
            f'{name!r} is a config: give the checkpoint as well. Published '
            f'models are {[model.name for model in list_models()]}.')
    loaded = load_checkpoint(checkpoint)
    if name is None:
        cfg = _kept_config(loaded, checkpoint)
    else:
        cfg = Config.fromfile(
            find_config(name if published is None else published.config))
    model = _build(cfg, loaded.get('state_dict', loaded))
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    model.to(device)
    model.eval()
    return model


def _kept_config(loaded: dict, checkpoint: str) -> Config:
    text = loaded.get('meta', {}).get('cfg')
    if not text:
        raise ValueError(f'{checkpoint} holds no config: give one.')
    return read_plain_config(text)


def _require(published: 'PublishedModel', checkpoint: str) -> None:
    if not osp.isfile(checkpoint):
        raise FileNotFoundError(
            f'There is no {checkpoint}, and nothing is downloaded unasked. '
            f'Get the authors\' weights from {published.url} and convert '
            f'them with `{published.convert}`, or give your own file as '
            'checkpoint.')


def _build(cfg: Config, state: dict) -> DINO:
    head = strip_prefix(state, 'teacher.head.')
    if head:
        sizes = head_cfg(head)
        cfg.model.head.update({
            key: value
            for key, value in sizes.items()
            if key not in ('type', 'in_channels')
        })
    if DefaultScope.get_current_instance() is None:
        init_default_scope(cfg.get('default_scope', 'mmdino'))
    with DefaultScope.overwrite_default_scope('mmdino'):
        model = MODELS.build(cfg.model)
    try:
        missing, leftover = model.load_state_dict(state, strict=False)
    except RuntimeError as error:  # shapes
        raise CheckpointError(f'The checkpoint does not fit {cfg.filename}: '
                              f'{error}') from error
    # A lone backbone has no heads and no centre; features need none.
    parts = ('head.', 'teacher.head.', 'centering.')
    lacking = [key for key in missing if head or not key.startswith(parts)]
    if lacking or leftover:
        raise CheckpointError(
            f'The checkpoint does not fit {cfg.filename}: missing '
            f'{name_keys(lacking)}; left over {name_keys(leftover)}.')
    model.cfg = cfg
    return model


class PublishedModel(NamedTuple):
    """A model that the authors of DINO published.

    ``metrics`` are the figures they report, in percent; ``convert`` is the
    command that makes a checkpoint of ours of ``file``.
    """
    name: str
    config: str
    url: str
    sha256_prefix: Optional[str]
    metrics: Dict[str, float]

    @property
    def file(self) -> str:
        """The name of the authors' file."""
        return osp.basename(self.url)

    @property
    def checkpoint(self) -> str:
        """Where :func:`.get_model` looks for the converted file."""
        return osp.join('checkpoints', f'{self.name}.pth')

    @property
    def convert(self) -> str:
        return (f'python tools/convert_checkpoint.py {self.file} '
                f'{self.checkpoint} --from official --to mmdino')


def list_models(pattern: str = '*') -> List[PublishedModel]:
    """List the published models.

    Args:
        pattern: Of the names, with the wildcards * and ?.
    """
    index = load(str(resource('model-index.yml')))
    models = [_read_entry(entry) for entry in index['Models']]
    return [m for m in models if fnmatch.fnmatch(m.name, pattern)]


def _read_entry(entry: dict) -> PublishedModel:
    origin = entry['Converted From']
    return PublishedModel(
        name=entry['Name'],
        config=entry['Config'],
        url=origin['Weights'],
        sha256_prefix=origin['SHA-256 prefix'],
        metrics={
            name: value
            for result in entry['Results']
            for name, value in result['Metrics'].items()
        })
