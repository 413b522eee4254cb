"""Writing checkpoint files, all or nothing."""
import os
import os.path as osp
import tempfile
from contextlib import contextmanager
from typing import Any, Dict, Iterator

import torch
from safetensors.torch import save_file
from torch import Tensor

from .names import CheckpointError, listed

ENDINGS = ('.pth', '.safetensors')


def save_checkpoint(checkpoint: Dict[str, Any], path: str) -> None:
    """Write in the container that the ending names.

    The file appears at once and whole: it is written beside ``path`` and
    renamed.

    Args:
        checkpoint: What to save; of tensors alone for .safetensors.
        path: Name with .pth or .safetensors.

    Raises:
        CheckpointError: If the ending is another, or if .safetensors cannot
            hold this.
    """
    check_ending(path)
    with replaced(path) as temporary:
        if path.endswith('.safetensors'):
            save_file(_flat(checkpoint), temporary, metadata=dict(format='pt'))
        else:
            torch.save(checkpoint, temporary)


def check_ending(path: str) -> None:
    """Refuse a name whose ending tells no container."""
    if not path.endswith(ENDINGS):
        raise CheckpointError(f'{path} must end in one of '
                              f'{" or ".join(ENDINGS)}.')


@contextmanager
def replaced(path: str) -> Iterator[str]:
    """Give a temporary name; put the file at ``path`` if all went well."""
    folder = osp.dirname(osp.abspath(path))
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        name = osp.join(temporary, osp.basename(path))
        yield name
        os.replace(name, path)


def _flat(checkpoint: Dict[str, Any]) -> Dict[str, Tensor]:
    nested = [k for k, v in checkpoint.items() if not isinstance(v, Tensor)]
    if nested:
        raise CheckpointError(
            f'.safetensors holds tensors alone, and {listed(nested)} are '
            'none: write a .pth.')
    # Tensors that share memory are refused there.
    return {key: t.detach().clone() for key, t in checkpoint.items()}
