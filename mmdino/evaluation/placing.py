"""Which samples of a data set a rank holds, and which of them count.

Samples that count are readable and no duplicates.

Letters: N samples of this rank, S samples of all ranks that count, W ranks.
"""
import hashlib
import os
import os.path as osp
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dist import (all_gather, all_gather_object, all_reduce,
                           collect_results, get_rank, get_world_size,
                           is_main_process)
from torch import Tensor


class Placing(NamedTuple):
    """The positions of this rank's samples among all samples that count."""
    own: Tensor  # (N,) from 0 to S - 1; -1 for those that do not count
    size: int  # S
    indices: Tensor  # (S,) indices of the samples in the data set, rising


def place_samples(told: Sequence[int | None], readable: Sequence[bool],
                  size: int) -> Placing:
    """Order the samples of all ranks, without unreadable ones and duplicates.

    The index of a sample in the data set is its ``sample_idx``, if those of
    all ranks together are exactly the indices of the data set. Otherwise, as
    with data sets of other libraries, the samples are assumed to be given in
    turn to the ranks, as MMEngine's DefaultSampler does without shuffling;
    those beyond the size of the data set are duplicates.

    Args:
        told: ``sample_idx`` of each of this rank's N samples, or None.
        readable: Whether each of the N samples could be read.
        size: Number of samples of the data set.
    """
    rows = torch.tensor([[-1 if number is None else number,
                          int(ok)] for number, ok in zip(told, readable)],
                        dtype=torch.int64).view(-1, 2)
    table = _gather_padded(rows, fill=-2)  # (longest, W, 2)
    dealt = table.reshape(-1, 2).numpy()
    is_sample = dealt[:, 1] >= 0
    numbers = np.where(is_sample, dealt[:, 0], -1)
    if not _all_of(numbers[is_sample], size):
        numbers = np.where(is_sample, np.cumsum(is_sample) - 1, -1)
        numbers[numbers >= size] = -1
    indices, first = np.unique(numbers, return_index=True)
    counts = (indices >= 0) & (dealt[first, 1] == 1)
    places = np.full(len(dealt), -1)
    places[first[counts]] = np.arange(counts.sum())
    own = places.reshape(table.shape[:2])[:len(rows), get_rank()]
    return Placing(
        torch.from_numpy(own.copy()), int(counts.sum()),
        torch.from_numpy(indices[counts]))


def _all_of(numbers: np.ndarray, size: int) -> bool:
    """Return whether these are exactly the numbers from 0 to ``size`` - 1."""
    found = np.unique(numbers)
    return len(found) == size and (size == 0 or
                                   (found[0] == 0 and found[-1] == size - 1))


def _gather_padded(rows: Tensor, fill: int) -> Tensor:
    """Gather rows (N, ...) of all ranks as (longest, W, ...)."""
    if get_world_size() == 1:
        return rows[:, None]
    longest = torch.tensor(len(rows))
    all_reduce(longest, 'max')
    padded = rows.new_full((int(longest), *rows.shape[1:]), fill)
    padded[:len(rows)] = rows
    return torch.stack(all_gather(padded), dim=1)


def gather_rows(part: Tensor, places: Tensor, size: int) -> Tensor:
    """Gather rows (S, ...) of all ranks, in rank order, on every rank.

    Args:
        part: This rank's rows (N, ...).
        places: Positions (N,) of the rows among the S; no two ranks have the
            same.
        size: S.
    """
    if get_world_size() == 1:
        in_order = torch.equal(places, torch.arange(size))
        return part if in_order else part[torch.argsort(places)]
    rows = _gather_padded(part, fill=0).flatten(0, 1)
    places = _gather_padded(places, fill=-1).flatten()
    whole = part.new_empty((size, *part.shape[1:]))
    whole[places[places >= 0]] = rows[places >= 0]
    return whole


def stack_rows(rows: Sequence[Tensor]) -> Tensor:
    """Stack this rank's features to (N, D).

    A rank without features returns (0, D) with the D of the other ranks.
    """
    width = torch.tensor(len(rows[0]) if rows else 0)
    all_reduce(width, 'max')
    return torch.stack([*rows]) if rows else torch.zeros(0, int(width))


def gather_objects(part: Sequence[Any], places: Tensor, device: str,
                   folder: str | None) -> list[Any] | None:
    """Gather objects of all ranks, in rank order, on rank 0; None elsewhere.

    Args:
        part: This rank's N objects.
        places: As in :func:`gather_rows`.
        device: 'cpu' or 'gpu', with which MMEngine collects them.
        folder: Folder for the temporary files of 'cpu'; by default MMEngine
            makes one.
    """
    longest = torch.tensor(len(part))
    all_reduce(longest, 'max')
    rows = list(zip(places.tolist(), part))
    rows += [(-1, None)] * (int(longest) - len(rows))  # as many on each rank
    folder = dict(tmpdir=folder) if device == 'cpu' else {}
    rows = collect_results(rows,
                           get_world_size() * int(longest), device, **folder)
    if not is_main_process():
        return None
    return [value for place, value in sorted(rows, key=_place) if place >= 0]


def _place(row: tuple) -> int:
    return row[0]


def gather_names(names: Sequence[str]) -> list[str]:
    """Gather the names of all ranks, unique and sorted, on every rank."""
    count = torch.tensor(len(names))
    all_reduce(count)
    if not count:
        return []
    return sorted({n for part in all_gather_object([*names]) for n in part})


def file_key(path: str | None) -> int:
    """Hash the path of a file to 63 bits; -1 for no file.

    Links are followed, so that different paths of one file have one hash. The
    names of files in archives are hashed as they are.
    """
    if not path:
        return -1
    if '://' not in path:
        folder, name = osp.split(path)
        path = osp.join(_real_folder(folder), name)
        path = osp.realpath(path) if osp.islink(path) else path
    digest = hashlib.blake2b(os.fsencode(path), digest_size=8).digest()
    return int.from_bytes(digest, 'little') >> 1


@lru_cache(maxsize=65536)
def _real_folder(folder: str) -> str:
    return osp.realpath(folder)
