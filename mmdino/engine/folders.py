"""A config whose data sets all read one folder of images."""
import logging
import os
import os.path as osp

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log

from mmdino.datasets import Images

MAX_EVALUATED = 10000  # largest number of images for k-NN or the rank
# Folders of the parts of a data set, in any case; the first one that is there.
TRAIN = ('train', 'training')
HELD_OUT = ('val', 'valid', 'validation', 'dev', 'test', 'testing')


def read_folder(cfg: Config, root: str) -> bool:
    """Let a config read a folder, and hold out a fifth of the labelled images.

    A folder with train/ and val/, or train/ and another of :data:`HELD_OUT`,
    keeps this split. The training set is then train/, and k-NN takes its
    queries from the other; train/ alone is read as if it were the folder. If
    the images have no labels, the validation computes the rank of the features
    instead of k-NN. The batch size is reduced to the number of training
    images, if it is larger.

    Args:
        cfg: Config with a training and a validation by a gallery, whose data
            sets are :class:`.Images`. Changed in place.
        root: The folder.

    Returns:
        Whether the images have labels, which are the names of their folders.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there are fewer than two images to train on.
    """
    root = osp.expanduser(root)
    if not osp.isdir(root):
        raise FileNotFoundError(f'There is no folder {root!r}: name a '
                                'folder of images.')
    is_split = _choose_subsets(cfg, root)
    train = cfg.train_dataloader.dataset
    gallery = cfg.val_cfg.gallery_dataloader.dataset
    images = Images(root, subset=gallery.subset)
    if len(images) < 2:
        raise ValueError(f'{root} has only {len(images)} image: training '
                         'needs at least two.')
    labelled = 'gt_label' in images.get_data_info(0)
    if labelled:
        queries = cfg.val_dataloader.dataset
        queries.classes = gallery.classes = list(images.metainfo['classes'])
    if labelled and not is_split:
        _hold_out(cfg, len(images))
        if len(train.indices) < 2:
            raise ValueError(
                f'{root} has only {len(images)} images, of which a fifth is '
                f'held out and {len(train.indices)} is left: training needs '
                'at least two. Add images, or sort them into train/ and val/.')
    # auto_scale_lr or ScaleLRHook adapts the learning rate to the batch.
    cfg.train_dataloader.batch_size = min(cfg.train_dataloader.batch_size,
                                          len(train.get('indices', images)))
    if not labelled:
        print_log(
            f'{root} has no class folders, which k-NN needs: the validation '
            'only computes the rank of the features.',
            logger='current')
        _measure_the_rank(cfg, len(images))
    return labelled


def _choose_subsets(cfg: Config, root: str) -> bool:
    """Point all data sets to the folder; return whether it has a split."""
    train, held = find_split(root)
    queries = cfg.val_dataloader.dataset
    for dataset in (cfg.train_dataloader.dataset,
                    cfg.val_cfg.gallery_dataloader.dataset, queries):
        dataset.data_root = root
        dataset.subset = train
        dataset.pop('images_per_class', None)
    if held:
        queries.subset = held
    return bool(held)


def find_split(root: str) -> tuple[str, str]:
    """Return the folder of training images and that of held-out ones, or ''.
    """
    visible = [e for e in os.scandir(root) if e.name[0] != '.']
    folders = {e.name.lower(): e.name for e in visible if e.is_dir()}
    train, held = (
        next((folders[n] for n in names if n in folders), '')
        for names in (TRAIN, HELD_OUT))
    if train and (held or len(visible) == 1):
        return train, held
    if train or held:
        print_log(
            f'{osp.join(root, train or held)} counts as a class: images of '
            'training and held-out ones are told apart by folders named '
            f'train and {" or ".join(HELD_OUT)}.',
            logger='current',
            level=logging.WARNING)
    return '', ''


def _hold_out(cfg: Config, number: int) -> None:
    """Take a random fifth of the images as queries, and do not train on it."""
    chosen = np.random.default_rng(0).permutation(number)
    chosen = chosen[:MAX_EVALUATED].tolist()
    fifth = -(-len(chosen) // 5)
    cfg.val_dataloader.dataset.indices = sorted(chosen[:fifth])
    cfg.val_cfg.gallery_dataloader.dataset.indices = sorted(chosen[fifth:])
    cfg.train_dataloader.dataset.indices = sorted(
        set(range(number)) - {*chosen[:fifth]})


def _measure_the_rank(cfg: Config, number: int) -> None:
    """Compute the rank of the features instead of k-NN."""
    queries = cfg.val_dataloader.dataset
    queries.indices = list(range(min(MAX_EVALUATED, number)))
    queries.with_label = False
    cfg.val_cfg.gallery_dataloader = None
    cfg.val_evaluator = dict(type='RankMe')
