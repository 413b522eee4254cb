"""A config whose data sets all read one folder of images."""
import os.path as osp

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log

from mmdino.datasets import Images

MAX_EVALUATED = 10000  # images of a folder that k-NN looks at


def read_folder(cfg: Config, root: str) -> bool:
    """Let a config read a folder, and hold out a fifth of the labelled images.

    A folder with train/ and val/ or test/ is split already. Without labels
    the rank of the features is validated. A batch is no larger than the
    folder.

    Args:
        cfg: With a training and a validation by a gallery, whose data sets
            are :class:`Images`. Changed in place.
        root: The folder.

    Returns:
        Whether the images have labels, their folders.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there are fewer than two images.
    """
    root = osp.expanduser(root)
    if not osp.isdir(root):
        raise FileNotFoundError(f'There is no folder of pictures {root!r}.')
    held = next((s for s in ('val', 'test') if osp.isdir(osp.join(root, s))),
                '')
    split = held and osp.isdir(osp.join(root, 'train'))
    train = cfg.train_dataloader.dataset
    gallery = cfg.val_cfg.gallery_dataloader.dataset
    queries = cfg.val_dataloader.dataset
    for dataset in (train, gallery, queries):
        dataset.data_root = root
        dataset.subset = 'train' if split else ''
        dataset.pop('images_per_class', None)
    if split:
        queries.subset = held
    images = Images(root, subset=gallery.subset)
    if len(images) < 2:
        raise ValueError(f'{root} has {len(images)} image: give at least two.')
    labelled = 'gt_label' in images.get_data_info(0)
    if labelled:
        queries.classes = gallery.classes = list(images.metainfo['classes'])
    if labelled and not split:
        chosen = np.random.default_rng(0).permutation(len(images))
        chosen = chosen[:MAX_EVALUATED].tolist()
        fifth = -(-len(chosen) // 5)
        queries.indices = sorted(chosen[:fifth])
        gallery.indices = sorted(chosen[fifth:])
        train.indices = sorted(set(range(len(images))) - {*chosen[:fifth]})
    # The learning rate follows by itself.
    cfg.train_dataloader.batch_size = min(cfg.train_dataloader.batch_size,
                                          len(train.get('indices', images)))
    if not labelled:
        print_log(
            f'{root} has no classes (folders), hence no k-NN: the rank of the '
            'features is all that is validated on the way.',
            logger='current')
        queries.indices = list(range(min(MAX_EVALUATED, len(images))))
        queries.with_label = False
        cfg.val_cfg.gallery_dataloader = None
        cfg.val_evaluator = dict(type='RankMe')
    return labelled
