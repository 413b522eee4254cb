"""Checks that heads, data sets and labels agree on the classes.

The toolboxes do not report such errors: mmseg's IoU ignores pixels of a class
that the data set does not know, and mmdet drops objects whose category is not
among the classes of the config.
"""
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn as nn
from mmengine import load
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmdino.registry import HOOKS

HEAD = re.compile(r'(?<!rpn_)head(\.\d+)?$')  # names of modules
ORIENTATION, ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # of EXIF


@HOOKS.register_module()
class NumClassesHook(Hook):
    """Raise an error if heads, data or labels differ in their classes.

    It works in training, validation and testing of classifiers, segmentors
    and detectors. Classes are compared if the ``metainfo`` of the data set has
    ``classes``. A validation that has seen nothing of a class ends with a
    warning.

    Raises:
        FileNotFoundError: If images or masks of own classes are missing.
        ValueError: If a data set is empty or gives no complete batch; if a
            head has another number of classes than the data set; if COCO
            annotations have other categories; if an image has another size
            than its mask or annotations; if a label is none of the classes.
    """

    def __init__(self) -> None:
        self.seen: Tensor | None = None  # of a validation: 1 a class

    def before_train(self, runner: Runner) -> None:
        """Check data and heads before the first iteration."""
        _check('train', runner.train_dataloader, runner)
        if runner.val_loop is not None:
            _check('val', runner.val_dataloader, runner)

    def before_val(self, runner: Runner) -> None:
        """Check data and heads before a validation."""
        _check('val', runner.val_dataloader, runner)
        self.seen = None

    def before_test(self, runner: Runner) -> None:
        """Check data and heads before a test."""
        _check('test', runner.test_dataloader, runner)
        self.seen = None

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
        """Check the labels of a batch, and remember them."""
        _check_batch(data_batch, runner.val_dataloader.dataset)
        self._remember(data_batch, runner.val_dataloader.dataset)

    def before_test_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: dict | None = None) -> None:
        """Check the labels of a batch, and remember them."""
        _check_batch(data_batch, runner.test_dataloader.dataset)
        self._remember(data_batch, runner.test_dataloader.dataset)

    def after_val_epoch(self,
                        runner: Runner,
                        metrics: dict | None = None) -> None:
        """Warn of classes that no label was of."""
        self._tell(runner, 'val', runner.val_dataloader.dataset)

    def after_test_epoch(self,
                         runner: Runner,
                         metrics: dict | None = None) -> None:
        """Warn of classes that no label was of."""
        self._tell(runner, 'test', runner.test_dataloader.dataset)

    def _remember(self, batch: dict, dataset: Dataset) -> None:
        classes = _classes(dataset) or ()
        if self.seen is None:
            self.seen = torch.zeros(len(classes))
        for sample in batch['data_samples'] if classes else ():
            labels = _labels(sample)[0].unique().long()
            self.seen[labels[labels < len(classes)]] = 1

    def _tell(self, runner: Runner, phase: str, dataset: Dataset) -> None:
        if self.seen is None or not _has_own_classes(dataset):
            return
        all_reduce(self.seen)
        unseen = [
            f'{name!r} ({label})'
            for label, name in enumerate(_classes(dataset))
            if not self.seen[label]
        ]
        if unseen:
            runner.logger.warning(
                f'Nothing in the {phase} set is labelled {", ".join(unseen)}, '
                'which no measure counts. In a mask, 255 says that a pixel '
                'has no label.')


def _check(phase: str, loader: DataLoader, runner: Runner) -> None:
    check_size(phase, loader)
    model = runner.model
    model = model.module if is_model_wrapper(model) else model
    classes = _classes(loader.dataset)
    if classes is not None:
        check_heads(model, classes, phase)
    for dataset in _parts(loader.dataset):
        check_categories(dataset)
        check_files(dataset)


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
    if not hasattr(dataset, 'cat_ids') or not _has_own_classes(dataset):
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


def check_files(dataset: Dataset) -> None:
    """Look for the files of own classes, and at the sizes of the images.

    The toolboxes would find out when they read a file, some not at all: in a
    training, a mask of another size is cut elsewhere than its image, and boxes
    of another size lie elsewhere.

    Args:
        dataset: Of mmseg or mmdet with classes of one's own and files on a
            disk; others pass.

    Raises:
        FileNotFoundError: Counts the missing files and names the first one.
        ValueError: Names an image that has another size than its mask or
            than its annotations say, or counts objects without the outline
            that the pipeline loads.
    """
    if not _has_own_classes(dataset) or not hasattr(dataset, 'get_data_info'):
        return
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    infos = [i for i in infos if 'seg_map_path' in i or 'width' in i]
    paths = [
        info[key] for info in infos for key in ('img_path', 'seg_map_path')
        if '://' not in (info.get(key) or '://')
    ]
    missing = [path for path in paths if not Path(path).exists()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(paths)} images and masks do not exist, '
            f'the first one is {missing[0]}: are the folder and the suffix '
            'right?')
    for info in infos:
        _check_size(info)
    _check_outlines(dataset, infos)
    if hasattr(dataset, 'img_suffix') and not dataset.ann_file:
        _tell_other_suffixes(dataset)


def _check_outlines(dataset: Dataset, infos: list[dict]) -> None:
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    if not any(getattr(step, 'with_mask', False) for step in steps):
        return
    objects = [(info, thing) for info in infos for thing in info['instances']]
    lacking = [info for info, thing in objects if 'mask' not in thing]
    if lacking:
        raise ValueError(
            f'{len(lacking)} of {len(objects)} objects in {dataset.ann_file} '
            'have boxes alone, without a segmentation, first in '
            f'{lacking[0]["img_path"]}: outline them, or take a detector of '
            'boxes, such as RetinaNet.')


def _tell_other_suffixes(dataset: Dataset) -> None:
    folder, suffix = dataset.data_prefix['img_path'], dataset.img_suffix
    others = [
        path for path in sorted(Path(folder).rglob('*.*'))
        if path.is_file() and not path.name.endswith(suffix)
    ]
    if others:
        print_log(
            f'{len(others)} files of {folder} are left out, since they do not '
            f'end in img_suffix={suffix!r}, such as {others[0].name}.',
            'current', logging.WARNING)


def _has_own_classes(dataset: Dataset) -> bool:
    known = getattr(type(dataset), 'METAINFO', None)
    classes = _classes(dataset)
    return None not in (known, classes) and (tuple(classes) != tuple(
        known.get('classes', ())))


def _check_size(info: dict) -> None:
    image, mask = _size(info['img_path']), info.get('seg_map_path')
    if mask is None:
        other, source = (info['width'], info['height']), 'its annotations'
    else:
        other, source = _size(mask, must_be_known=True), mask
    if None not in (image, other) and image != other:
        raise ValueError(
            '{} has {} x {} pixels, {} {} x {}: they belong to another size '
            'of the image.'.format(info['img_path'], *image, source, *other))


def _size(path: str, must_be_known: bool = False) -> tuple[int, int] | None:
    """Return width and height as a loader has them, None if they are unknown.

    A photo that its EXIF lays on its side is turned. What Pillow cannot read,
    other loaders of images may; masks are Pillow's.
    """
    if '://' in path:
        return None
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(ORIENTATION) in ON_ITS_SIDE
            return image.size[::-1] if turned else image.size
    except UnidentifiedImageError as error:
        if must_be_known:
            raise ValueError(f'{path} is no image, or damaged.') from error
        return None


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
