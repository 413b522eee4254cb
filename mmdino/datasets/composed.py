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

    The index in a sample, ``sample_idx``, is that in the joint data set. Where
    the data sets have different classes, the samples have no labels, and a
    warning says so.

    Args:
        datasets: The data sets or their configs.
        lazy_init: Whether to list the images later, by ``full_init``.
        ignore_keys: Further keys of ``metainfo`` that may differ.
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
                f'The classes of the {len(built)} data sets differ: their '
                'labels are left out.',
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
        """Return the item ``idx`` with its index in the joint data set.

        Its sample also has ``dataset_idx``, the position of its data set in
        ``datasets``.
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
        """Return flags (N,), bool: which images could not be read so far.

        They include the images that this process' workers have read.
        """
        return torch.cat([
            getattr(part, 'unreadable', torch.zeros(len(part), dtype=bool))
            for part in self.datasets
        ])


@DATASETS.register_module()
class HeldOut:
    """One part of a split data set: a share of each class, or the rest.

    Two configs that differ in ``rest`` alone have no image in common, and
    together they have all images. Building this type returns the inner data
    set, reduced to the chosen images.

    Args:
        dataset: Config of a data set with labels that lists its items, such as
            :class:`.Images`.
        share: Fraction of each class to hold out, in (0, 1); at least one
            image of each class.
        rest: Whether to take the images that are not held out.
        seed: Seed of the choice.

    Raises:
        TypeError: If the data set is not one that lists its items.
        ValueError: If it has no labels, or no image is left.
    """

    def __new__(cls,
                dataset: dict,
                share: float = .1,
                rest: bool = False,
                seed: int = 0) -> BaseDataset:
        built = DATASETS.build(dataset)
        if not isinstance(built, BaseDataset):
            raise TypeError(f'{type(built).__name__} cannot be split: use a '
                            'data set that lists its items, such as Images.')
        built.full_init()
        labels = [
            built.get_data_info(i).get('gt_label') for i in range(len(built))
        ]
        if None in labels:
            raise ValueError(
                f'{type(built).__name__} has no labels, and HeldOut takes a '
                'share of each class: use a data set with labels.')
        held_out = balanced_split(labels, share, seed)
        if rest:
            held_out = sorted({*range(len(built))}.difference(held_out))
        if not held_out:
            raise ValueError(f'Nothing is left of {len(built)} images after '
                             f'a share of {share:g} is held out: lower share.')
        built.get_subset_(held_out)
        return built
