"""Safe reading of checkpoint files, and writing that is all or nothing.

A .pth file is a pickle, and a pickle can call any function. torch's restricted
unpickler builds only tensors and plain containers. This module also allows the
settings in the authors' files (``argparse.Namespace``) and the NumPy arrays
and log buffers in MMEngine's files.
"""
import argparse
import os
import os.path as osp
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.serialization import safe_globals

from mmdino.weights.config import from_metadata, to_metadata
from mmdino.weights.keys import CheckpointError, name_keys
from mmdino.weights.sources import find_checkpoint, shards_of

# Methods of HistoryBuffer that MMEngine's log buffers refer to.
STATISTICS = ('current', 'max', 'mean', 'min')


def load_checkpoint(path: str,
                    map_location: Any = 'cpu',
                    mmap: bool = False) -> dict[str, Any]:
    """Read a .safetensors file or one that ``torch.save`` wrote.

    A .safetensors file of mmdino is returned like a .pth file: with its
    tensors as ``state_dict`` and its network config in ``meta``. Weights in
    several files are read by their ``*.safetensors.index.json``.

    Args:
        path: The file.
        map_location: Device of the tensors, as in ``torch.load``.
        mmap: Read tensors of a .pth file from the disk only when they are
            used.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged, holds no dict, or holds
            objects that could run code. No such code is run.
    """
    path = osp.expanduser(path)
    if not osp.isfile(path):
        raise FileNotFoundError(f'There is no checkpoint {path!r}.')
    try:
        if path.endswith('.index.json'):
            return _load_shards(path, map_location or 'cpu')
        if path.endswith('.safetensors'):
            return _load_safetensors(path, map_location or 'cpu')
        with safe_globals(_allowed()):
            checkpoint = torch.load(
                path,
                map_location=map_location,
                weights_only=True,
                mmap=mmap and is_zipfile(path))
    except CheckpointError:
        raise
    # A damaged file can raise any exception.
    except Exception as error:
        raise CheckpointError(_explain(path, error)) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'{path} holds a {type(checkpoint).__name__}, not a state dict: '
            'save model.state_dict().')
    return checkpoint


def _load_safetensors(path: str, device: Any) -> dict[str, Any]:
    with safe_open(path, framework='pt', device=str(device)) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
        metadata = file.metadata()
    network = from_metadata(metadata)
    if network is None:
        return tensors
    meta = dict(network=network, names=metadata.get('names', 'mmdino'))
    return dict(meta=meta, state_dict=tensors)


def _load_shards(index: str, device: Any) -> dict[str, Any]:
    tensors = {}
    for path in shards_of(index):
        try:
            tensors.update(_load_safetensors(path, device))
        except SafetensorError as error:
            raise CheckpointError(_explain(path, error)) from error
    return tensors


def use_safe_loading() -> None:
    """Let MMEngine read checkpoints by this module, from now on.

    MMEngine's own loader falls back to unpickling without restrictions. After
    this call, ``load_from``, ``resume`` and
    ``init_cfg=dict(type='Pretrained')`` read files and addresses by
    :func:`load_from_mmdino`.
    """
    CheckpointLoader.register_scheme(
        ['', 'http://', 'https://', 'hf:', 'timm:'],
        load_from_mmdino,
        force=True)


def load_from_mmdino(name: str, map_location: Any = 'cpu') -> dict[str, Any]:
    """Load a checkpoint for MMEngine.

    ``meta['config']``, which only old versions of MMEngine wrote, is removed,
    because resuming would execute it. MMEngine logs the part of this
    function's name after ``load_from_`` as the source.
    """
    checkpoint = load_checkpoint(find_checkpoint(name), map_location)
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


def _allowed() -> list[Any]:
    """Return the classes that may be unpickled in addition to torch's list."""
    dtypes = {
        type(np.dtype(code))
        for code in '?bBhHiIlLqQefd' + 'S' + 'U' + 'O'
    }
    multiarray = getattr(np, '_core', None) or np.core
    functions = ('_reconstruct', 'scalar')
    return [
        argparse.Namespace, HistoryBuffer, np.ndarray, np.dtype, *dtypes,
        (_statistic, 'builtins.getattr'),
        *((getattr(multiarray.multiarray, name), f'{module}.multiarray.{name}')
          for name in functions for module in ('numpy.core', 'numpy._core'))
    ]


def _statistic(owner: Any, name: str) -> Any:
    """Take the place of ``getattr``, with which log buffers pickle methods.

    Raises:
        CheckpointError: For any attribute but the statistics of log buffers.
    """
    if owner is HistoryBuffer and name in STATISTICS:
        return getattr(owner, name)
    raise CheckpointError(f'The file asks for the attribute {name!r} of '
                          f'{owner!r}: refused.')


def _explain(path: str, error: Exception) -> str:
    refused = re.search(r'GLOBAL ([\w.]+)', str(error))
    if refused and refused[1].startswith('torch.distributed.'):
        return (f"{path} holds {refused[1]!r}: it is one rank's share of a "
                'sharded training. Use a file with all weights, such as the '
                "teacher_checkpoint.pth that DINOv2's training writes below "
                'eval/.')
    if refused:
        return (f'{path} was refused and nothing of it was run: it holds '
                f'{refused[1]!r}, which is neither a tensor nor plain data '
                'and could run code. Use a file with weights only, or a '
                '.safetensors file. If you wrote it yourself, list the type '
                'in torch.serialization.add_safe_globals.')
    # For a text file, the message of the unpickler (a LookupError) is only
    # the code of its second letter.
    told = '' if isinstance(error, LookupError) else str(error).strip()
    first = f': {told.splitlines()[0]}' if told else ''
    return (f'{path} is damaged, incomplete or no checkpoint{first}. '
            'Download or copy it again and compare its size and SHA-256.')


ENDINGS = ('.pth', '.safetensors')


def save_checkpoint(checkpoint: dict[str, Any], path: str) -> None:
    """Write a checkpoint in the container that the ending names.

    The file is written in a temporary folder beside ``path`` and then moved,
    so that it is never seen incomplete.

    Args:
        checkpoint: What to save. For .safetensors it is a dict of tensors, or
            one with ``state_dict`` and ``meta``; of ``meta`` only ``network``
            and ``names``, the format of the tensors' names, are kept.
        path: File to write, .pth or .safetensors.

    Raises:
        CheckpointError: If ``path`` has another ending, or .safetensors cannot
            hold the content.
    """
    check_ending(path)
    with replaced(path) as temporary:
        if path.endswith('.safetensors'):
            meta = checkpoint.get('meta', {})
            network = meta.get('network')
            save_file(
                _flat(checkpoint.get('state_dict', checkpoint)),
                temporary,
                metadata=dict(
                    to_metadata(network) if network else {},
                    names=meta.get('names', 'mmdino'),
                    format='pt'))
        else:
            torch.save(checkpoint, temporary)


def check_ending(path: str) -> None:
    """Raise an error if a path does not end in .pth or .safetensors.

    Raises:
        CheckpointError: If the ending is another one.
    """
    if not path.endswith(ENDINGS):
        raise CheckpointError(f'{path} must end in {" or ".join(ENDINGS)}.')


@contextmanager
def replaced(path: str) -> Iterator[str]:
    """Yield a temporary path; move its file to ``path`` if the body succeeds.

    Folders that are missing are created. The file gets the usual permissions;
    safetensors would keep it from everyone but its owner.
    """
    folder = osp.dirname(osp.abspath(path))
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        name = osp.join(temporary, osp.basename(path))
        yield name
        usual = Path(temporary, 'usual')
        usual.touch()
        os.chmod(name, usual.stat().st_mode)
        os.replace(name, path)


def _flat(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    nested = [k for k, v in checkpoint.items() if not isinstance(v, Tensor)]
    if nested:
        raise CheckpointError(
            f'.safetensors holds tensors only, but {name_keys(nested)} are '
            'no tensors: write a .pth.')
    # safetensors refuses tensors that share memory.
    return {key: t.detach().clone() for key, t in checkpoint.items()}
