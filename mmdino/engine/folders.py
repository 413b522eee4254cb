"""A config whose data sets all read one folder of images."""
import os.path as osp

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log

from mmdino.datasets import Images

MAX_EVALUATED = 10000  # largest number of images for k-NN or the rank


def read_folder(cfg: Config, root: str) -> bool:
    """Let a config read a folder, and hold out a fifth of the labelled images.

    A folder with train/ and val/, or train/ and test/, keeps this split. The
    training set is then train/, and k-NN takes its queries from the other. If
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
    held = next((s for s in ('val', 'test') if osp.isdir(osp.join(root, s))),
                None)
    is_split = held is not None and osp.isdir(osp.join(root, 'train'))
    queries = cfg.val_dataloader.dataset
    for dataset in (cfg.train_dataloader.dataset,
                    cfg.val_cfg.gallery_dataloader.dataset, queries):
        dataset.data_root = root
        dataset.subset = 'train' if is_split else ''
        dataset.pop('images_per_class', None)
    if is_split:
        queries.subset = held
    return is_split


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
