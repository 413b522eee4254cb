"""A trained model in a line."""
import os.path as osp
from typing import Optional

import torch

from mmdino.engine.testing import given_network
from mmdino.models import FrozenTeacher
from mmdino.utils.resources import find_config
from mmdino.weights import list_models


def get_model(name: Optional[str] = None,
              checkpoint: Optional[str] = None,
              device: Optional[str] = None,
              num_heads: Optional[int] = None) -> FrozenTeacher:
    """Build a frozen teacher and load its weights.

    Nothing is downloaded unasked: the file has to be there.

    Args:
        name: A checkpoint of any known format, or the name of a published
            model. With ``checkpoint``, a config that tells its network: a
            file or the name of a packaged one.
        checkpoint: The checkpoint, where ``name`` is a config or missing.
        device: By default the GPU if there is one.
        num_heads: Attention heads of a foreign ViT, which its file does not
            tell.

    Raises:
        FileNotFoundError: If there is no such file; says where to get it and
            how to convert it.
        ValueError: If a config comes without a checkpoint.
        CheckpointError: If the weights are not this model's.
    """
    if name is None and checkpoint is None:
        raise ValueError('get_model needs a checkpoint or the name of a '
                         f'published model: {[m.name for m in list_models()]}')
    published = {model.name: model for model in list_models()}.get(name)
    if checkpoint is None:
        is_file = '://' in name or osp.isfile(name)
        if name.endswith('.py') or not (is_file or published):
            find_config(name)
            raise ValueError(
                f'{name!r} is a config: give the checkpoint as well. '
                f'Published models are {[m.name for m in list_models()]}.')
        name, checkpoint = None, name
    given = given_network(published.config if published else name)
    model = FrozenTeacher(checkpoint, num_heads=num_heads, **given)
    return model.to(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
