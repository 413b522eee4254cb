"""Data sets made of others: several as one, or a part of one."""
import logging
from collections.abc import Sequence

import torch
from mmengine.dataset import BaseDataset
from mmengine.dataset import ConcatDataset as _ConcatDataset
from mmengine.logging import print_log
from torch.utils.data import Dataset

from mmdino.functional.low_shot import balanced_split
from mmdino.registry import DATASETS


@DATASETS.register_module()
class ConcatDataset(_ConcatDataset):
    """MMEngine's ``ConcatDataset`` for data sets whose classes may differ.

    Samples hold their index in the whole.

    Data sets whose labels mean different classes can be trained on together,
    without the labels, which the log says.

    Args:
        datasets: The data sets.
        lazy_init: Whether to list them later.
        ignore_keys: What else may differ in their ``metainfo``.
    """

    def __init__(self,
                 datasets: Sequence[dict | Dataset],
                 lazy_init: bool = False,
                 ignore_keys: Sequence[str] | str | None = None) -> None:
        built = [
            DATASETS.build(part) if isinstance(part, dict) else part
            for part in datasets
        ]
        kinds = {part.metainfo.get('classes') for part in built}
        self.labelled = len(kinds) < 2
        ignored = list([ignore_keys] if isinstance(ignore_keys, str
                                                   ) else ignore_keys or ())
        if not self.labelled:
            ignored.append('classes')
            print_log(
                f'The {len(built)} data sets have other classes than each '
                'other: their labels are left out.',
                logger='current',
                level=logging.WARNING)
        super().__init__(built, lazy_init, ignored)
        if not self.labelled:
            self._metainfo = dict(self._metainfo)
            self._metainfo.pop('classes', None)

    def get_data_info(self, idx: int) -> dict:
        """Return the item ``idx`` before its transforms."""
        item = dict(super().get_data_info(idx), sample_idx=idx)
        if not self.labelled:
            item.pop('gt_label', None)
        return item

    def __getitem__(self, idx: int) -> dict:
        """Return the item ``idx`` with its index in the whole.

        And, as ``dataset_idx``, the data set's place in ``datasets``.
        """
        item = super().__getitem__(idx)
        sample = item.get('data_samples')
        if sample is not None:
            part, _ = self._get_ori_dataset_idx(idx)
            sample.set_metainfo(dict(sample_idx=idx, dataset_idx=part))
            if not self.labelled:
                sample.pop('gt_label', None)
        return item

    @property
    def unreadable(self) -> torch.Tensor:
        """Return flags (N,): whether an image failed in this process."""
        return torch.cat([
            getattr(part, 'unreadable', torch.zeros(len(part), dtype=bool))
            for part in self.datasets
        ])


@DATASETS.register_module()
class HeldOut:
    """One part of a split data set: a share of each class, or the rest.

    Two configs that differ in ``rest`` alone have no image in common and
    together all of them. Building it gives the data set itself, shortened.

    Args:
        dataset: Config of a data set with labels that lists its items, such as
            :class:`.Images`.
        share: Of each class, in (0, 1); at least one image of each.
        rest: Whether to give what is not held out.
        seed: Chooses another part.

    Raises:
        TypeError: If the data set cannot be shortened.
        ValueError: If it has no labels, or the rest is empty.
    """

    def __new__(cls,
                dataset: dict,
                share: float = .1,
                rest: bool = False,
                seed: int = 0) -> BaseDataset:
        built = DATASETS.build(dataset)
        if not isinstance(built, BaseDataset):
            raise TypeError(f'{type(built).__name__} cannot be cut in two: '
                            'take a data set that lists its items, such as '
                            'Images.')
        built.full_init()
        labels = [
            built.get_data_info(i).get('gt_label') for i in range(len(built))
        ]
        if None in labels:
            raise ValueError(f'{type(built).__name__} has no labels to hold '
                             'out a share of each class by.')
        held_out = balanced_split(labels, share, seed)
        if rest:
            held_out = sorted({*range(len(built))}.difference(held_out))
        if not held_out:
            raise ValueError(f'Nothing is left of {len(built)} images after '
                             f'a share of {share:g} is held out: lower share.')
        built.get_subset_(held_out)
        return built
