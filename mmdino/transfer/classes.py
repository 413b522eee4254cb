"""Checks that heads, data sets and labels agree on the classes.

The toolboxes do not report such errors: mmseg's IoU ignores pixels of a class
that the data set does not know, and mmdet drops objects whose category is not
among the classes of the config.
"""
import re
from collections.abc import Iterator, Sequence

import torch
import torch.nn as nn
from mmengine import load
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmdino.registry import HOOKS

HEAD = re.compile(r'(?<!rpn_)head(\.\d+)?$')  # names of modules


@HOOKS.register_module()
class NumClassesHook(Hook):
    """Raise an error if heads, data or labels differ in their classes.

    It works in training, validation and testing of classifiers, segmentors
    and detectors. Classes are compared if the ``metainfo`` of the data set has
    ``classes``.

    Raises:
        ValueError: If a data set is empty or gives no complete batch; if a
            head has another number of classes than the data set; if COCO
            annotations have other categories; if a label is none of the
            classes.
    """

    def before_train(self, runner: Runner) -> None:
        """Check data and heads before the first iteration."""
        _check('train', runner.train_dataloader, runner)
        if runner.val_loop is not None:
            _check('val', runner.val_dataloader, runner)

    def before_val(self, runner: Runner) -> None:
        """Check data and heads before a validation."""
        _check('val', runner.val_dataloader, runner)

    def before_test(self, runner: Runner) -> None:
        """Check data and heads before a test."""
        _check('test', runner.test_dataloader, runner)

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: dict | None = None) -> None:
        """Check the labels of a batch."""
        _check_batch(data_batch, runner.train_dataloader.dataset)

    def before_val_iter(self,
                        runner: Runner,
                        batch_idx: int,
                        data_batch: dict | None = None) -> None:
        """Check the labels of a batch."""
        _check_batch(data_batch, runner.val_dataloader.dataset)

    def before_test_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: dict | None = None) -> None:
        """Check the labels of a batch."""
        _check_batch(data_batch, runner.test_dataloader.dataset)


def _check(phase: str, loader: DataLoader, runner: Runner) -> None:
    check_size(phase, loader)
    model = runner.model
    model = model.module if is_model_wrapper(model) else model
    classes = _classes(loader.dataset)
    if classes is not None:
        check_heads(model, classes, phase)
    for dataset in _parts(loader.dataset):
        check_categories(dataset)


def _check_batch(batch: dict, dataset: Dataset) -> None:
    classes = _classes(dataset)
    if classes is not None:
        check_labels(batch, classes, getattr(dataset, 'ignore_index', 255))


def _classes(dataset: Dataset) -> Sequence[str] | None:
    return getattr(dataset, 'metainfo', {}).get('classes')


def _parts(dataset: Dataset) -> Iterator[Dataset]:
    """Iterate over a data set and those that it wraps or concatenates."""
    yield dataset
    inner = [getattr(dataset, 'dataset', None)]
    for part in (*inner, *getattr(dataset, 'datasets', ())):
        if isinstance(part, Dataset):
            yield from _parts(part)


def check_size(phase: str, loader: DataLoader) -> None:
    """Raise an error if a data set yields no batch.

    Args:
        phase: 'train', 'val' or 'test'.
        loader: Data loader of that phase.

    Raises:
        ValueError: If the data set has no image, or fewer than one batch while
            incomplete batches are dropped.
    """
    data = [*_parts(loader.dataset)][-1]
    if not len(data):
        raise ValueError(
            f'The {type(data).__name__} of {phase}_dataloader has no image: '
            'check the folder, the suffixes of its files and the names of '
            'the classes.')
    if not len(loader):
        raise ValueError(
            f'{phase}_dataloader gives no batch: its {len(data)} images are '
            f'fewer than batch_size={loader.batch_size} for each process, and '
            'incomplete batches are dropped. Lower batch_size.')


def check_heads(model: nn.Module, classes: Sequence[str], phase: str) -> None:
    """Compare the number of classes of all heads with the data set's.

    Args:
        model: The model; its modules named ``*head`` are checked, except for
            ``rpn_head``, which does not distinguish classes.
        classes: Names of the classes of the data set.
        phase: 'train', 'val' or 'test'.

    Raises:
        ValueError: If they differ, or the classes are one string.
    """
    if isinstance(classes, str):
        raise ValueError(f'The classes of the {phase} set are the string '
                         f'{classes!r}: write ({classes!r}, ).')
    for name, head in model.named_modules():
        number = getattr(head, 'num_classes', None)
        if HEAD.search(name) and number not in (None, len(classes)):
            raise ValueError(
                f'model.{name} has num_classes={number}, but the {phase} set '
                f'has {len(classes)} classes, {list(classes)[:5]} ...: set '
                f'model.{name}.num_classes={len(classes)}.')


def check_categories(dataset: Dataset) -> None:
    """Compare custom classes with the categories of a COCO file.

    mmdet numbers the categories in the order of the file, not in that of the
    config.

    Args:
        dataset: A data set in COCO's format. Other data sets, and the default
            classes of a data set, are not checked.

    Raises:
        ValueError: If a class is missing in the file, or the order differs.
    """
    classes = _classes(dataset)
    if not hasattr(dataset, 'cat_ids') or tuple(classes) == tuple(
            type(dataset).METAINFO.get('classes', ())):
        return
    names = [c['name'] for c in load(dataset.ann_file)['categories']]
    missing = [name for name in classes if name not in names]
    if missing:
        raise ValueError(f'{dataset.ann_file} has no category {missing}; its '
                         f'categories are {names[:10]}: correct '
                         'metainfo.classes.')
    order = [name for name in names if name in classes]
    if order != list(classes):
        raise ValueError(
            f'{dataset.ann_file} has its categories in another order than '
            f'metainfo.classes, {list(classes)}, and mmdet numbers labels in '
            f'the order of the file: write classes={tuple(order)}.')


def check_labels(batch: dict, classes: Sequence[str], ignored: int) -> None:
    """Raise an error for labels outside of the classes.

    Args:
        batch: A batch with ``data_samples``; samples without labels are not
            checked.
        classes: Names of the classes of the data set.
        ignored: Label of pixels that belong to no class.

    Raises:
        ValueError: If a label is none of the classes. The message names the
            labels and, if known, the file.
    """
    for sample in batch['data_samples']:
        labels, path = _labels(sample)
        if 'gt_sem_seg' in sample:
            labels = labels[labels != ignored]
        if labels.numel(
        ) and not 0 <= labels.min() <= labels.max() < len(classes):
            wrong = sorted({*labels.tolist()} - {*range(len(classes))})
            raise ValueError(
                f'{path} has the labels {wrong[:10]}, but the data set has '
                f'the {len(classes)} classes 0 to {len(classes) - 1}: add '
                'them to its classes, or correct the labels. A pixel without '
                f'a label has the value {ignored}.')


def _labels(sample: BaseDataElement) -> tuple[Tensor, str]:
    """Return a sample's labels, of any toolbox, and their file."""
    path = sample.get('img_path', 'An image')
    if 'gt_sem_seg' in sample:
        path = sample.get('seg_map_path', path)
        labels = sample.gt_sem_seg.data
        if labels.ndim != 3 or len(labels) != 1:
            raise ValueError(
                f'The mask {path} is read as {tuple(labels.shape)}: it must '
                'be an image of one channel or with a palette, not a colour '
                'image.')
    else:
        labels = sample.get('gt_instances', {}).get('labels')
        labels = sample.get('gt_label', labels)
    return torch.empty(0) if labels is None else labels, path
