"""Pretrain a small network with DINO, evaluate it and draw what it sees.

Without --data it learns from ShapeScenes, pictures drawn on the fly. It ends
with a table and, in the work dir, summary.json, curves.png and attention.png,
or, of a network without attention, nearest.png.
"""
import argparse
import copy
import os
import os.path as osp
import time
from pathlib import Path
from typing import Dict, Optional

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import default_collate
from mmengine.runner import Runner, find_latest_checkpoint

from mmdino.datasets import Images
from mmdino.engine.configs import override, read_config
from mmdino.engine.testing import use_checkpoint
from mmdino.experiments.jobs import write_json
from mmdino.functional.knn import nearest_neighbours
from mmdino.models import DINO
from mmdino.pictures.attention import draw_attention
from mmdino.pictures.curves import draw_curves
from mmdino.pictures.nearest import Picture, draw_nearest
from mmdino.registry import DATASETS

MAX_EVALUATED = 10000  # images of a folder that k-NN looks at
PICTURES = 8
SEARCHED = 1000  # pictures among which neighbours are looked for
NEIGHBOURS = 7
ROWS = (('k-NN top-1, %', 'knn_top1'), ('  untrained network',
                                        'knn_top1_untrained'),
        ('  raw pixels', 'knn_top1_pixels'), ('attention Jaccard',
                                              'attention_jaccard'),
        ('  untrained network', 'attention_jaccard_untrained'),
        ('training, images/s', 'images_per_second'), ('wall time, s',
                                                      'wall_s'))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        '--data', help='folder of images, with or without class sub-folders')
    source.add_argument(
        '--config', help='another config with a test loop on labelled images')
    parser.add_argument('--work-dir', default='work_dirs/quickstart')
    parser.add_argument('--epochs', type=int)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='settings that override the config, as key=value')
    return parser.parse_args()


def main() -> None:
    start = time.time()
    cfg = load_config(parse_args())
    # A core is left to the process that draws and augments: on two cores two
    # threads beside it would only wait for each other.
    torch.set_num_threads(max(1, os.cpu_count() - 1))
    untrained = score(cfg, 'untrained network')
    pixels = score(
        cfg,
        'raw pixels',
        model=dict(
            type='PixelFeatures',
            data_preprocessor=cfg.model.data_preprocessor),
        test_evaluator=dict(type='KNNAccuracy'))

    trainer = Runner.from_cfg(cfg)
    trainer.train()
    iteration_s = trainer.message_hub.get_scalar('train/time').mean()
    trained = score(
        cfg,
        'trained network',
        checkpoint=find_latest_checkpoint(cfg.work_dir))

    picture = draw_pictures(trainer.model, cfg)
    draw_curves(
        Path(trainer.log_dir),
        out=osp.join(cfg.work_dir, 'curves.png'),
        num_prototypes=cfg.model.head.out_dim)
    report(
        cfg.work_dir,
        dict(
            knn_top1=trained.get('knn/k20_top1'),
            knn_top1_untrained=untrained.get('knn/k20_top1'),
            knn_top1_pixels=pixels.get('knn/k20_top1'),
            attention_jaccard=trained.get('attention/jaccard'),
            attention_jaccard_untrained=untrained.get('attention/jaccard'),
            images_per_second=cfg.train_dataloader.batch_size / iteration_s,
            wall_s=time.time() - start), picture)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config of the data at hand and merge the options."""
    packaged = 'resnet10_images' if args.data else 'vit-tiny_shapescenes'
    cfg = read_config(args.config or f'quickstart/dino_{packaged}')
    if args.data:
        use_folder(cfg, Path(args.data).absolute())
    override(cfg, args.cfg_options)
    if args.epochs is not None:
        cfg.train_cfg.max_epochs = args.epochs
    warmup = cfg.param_scheduler.get('warmup_epochs', 0)
    if cfg.train_cfg.max_epochs <= warmup:
        raise ValueError(
            f'--epochs {args.epochs} leaves nothing after the {warmup} '
            f'epochs of warm-up: give at least {warmup + 1}.')
    cfg.work_dir = args.work_dir
    cfg.randomness.seed = args.seed
    return cfg


def use_folder(cfg: Config, root: Path) -> None:
    """Read a folder's images and hold a fifth of the labelled ones back.

    A folder with train/ and val/ or test/ is split already. Without labels
    there is nothing to score.
    """
    held = next((s for s in ('val', 'test') if (root / s).is_dir()), '')
    split = held and (root / 'train').is_dir()
    train = cfg.train_dataloader.dataset
    gallery = cfg.val_cfg.gallery_dataloader.dataset
    queries = cfg.val_dataloader.dataset
    for dataset in (train, gallery, queries):
        dataset.data_root = str(root)
        dataset.subset = 'train' if split else ''
    if split:
        queries.subset = held
    images = Images(str(root), subset=gallery.subset)
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
    cfg.test_dataloader = cfg.val_dataloader
    cfg.test_cfg.gallery_dataloader = cfg.val_cfg.gallery_dataloader
    if not labelled:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        cfg.test_evaluator = []


def score(cfg: Config,
          name: str,
          checkpoint: Optional[str] = None,
          **changes) -> Dict[str, float]:
    """Run the config's test, changed so, and return its metrics."""
    if not cfg.test_evaluator:
        return {}
    cfg = copy.deepcopy(cfg)
    folder = name.replace(' ', '_')
    unused = dict.fromkeys(f'{part}_{what}' for part in ('train', 'val')
                           for what in ('cfg', 'dataloader', 'evaluator'))
    settings = dict(
        unused,
        optim_wrapper=None,
        param_scheduler=None,
        work_dir=osp.join(cfg.work_dir, folder),
        experiment_name=folder,
        log_level='WARNING',  # leaves out what the trainer logs, too
        **changes)
    for key, value in settings.items():
        cfg[key] = value
    if checkpoint:
        use_checkpoint(cfg, checkpoint)
    runner = Runner.from_cfg(cfg)
    for logger in (runner.logger, *runner.logger.handlers):
        logger.setLevel('INFO')
    runner.logger.info(f'Scoring the {name}')
    if not checkpoint:
        runner.model.init_weights()
    return runner.test()


def draw_pictures(model: DINO, cfg: Config) -> str:
    """Draw some test pictures with the attention to them, or with their
    neighbours where there is none; give the file's name."""
    model.eval()
    shown = DATASETS.build(cfg.test_dataloader.dataset)
    batch = default_collate(spread(shown, PICTURES))
    samples = model.test_step(batch)
    if not model.predict_attention:
        draw_neighbours(model, cfg, batch, samples)
        return 'nearest.png'
    draw_attention(
        rgb(batch), [sample.attention for sample in samples],
        masks=[s.gt_mask
               for s in samples] if 'gt_mask' in samples[0] else None,
        out=osp.join(cfg.work_dir, 'attention.png'))
    return 'attention.png'


def draw_neighbours(model: DINO, cfg: Config, queries: dict,
                    samples: list) -> None:
    """Draw pictures with those of the gallery whose features are nearest."""
    gallery = DATASETS.build(cfg.test_cfg.gallery_dataloader.dataset)
    others = spread(gallery, SEARCHED)
    batches = [
        default_collate(others[i:i + 100]) for i in range(0, len(others), 100)
    ]
    found = [sample for batch in batches for sample in model.test_step(batch)]
    images = [image for batch in batches for image in rgb(batch)]
    similarities, places = nearest_neighbours(
        torch.stack([sample.feature for sample in samples]),
        torch.stack([sample.feature for sample in found]),
        min(NEIGHBOURS, len(found)))
    classes = gallery.metainfo.get('classes')

    def name(sample) -> Optional[str]:
        return classes[int(sample.gt_label)] if 'gt_label' in sample else None

    draw_nearest([[
        Picture(image, name(sample)), *(Picture(images[i], name(found[i]), s)
                                        for i, s in zip(near, alike))
    ] for image, sample, near, alike in zip(
        rgb(queries), samples, places.tolist(), similarities.tolist())],
                 out=osp.join(cfg.work_dir, 'nearest.png'))


def spread(dataset: Images, count: int) -> list:
    """At most so many items of a data set, from its begin to its end."""
    count = min(count, len(dataset))
    chosen = np.linspace(0, len(dataset) - 1, count).astype(int)
    return [dataset[int(i)] for i in chosen]


def rgb(batch: dict) -> np.ndarray:
    """The pictures (B, H, W, 3) of a batch."""
    return batch['inputs'].flip(1).permute(0, 2, 3, 1).numpy()


def report(work_dir: str, summary: dict, picture: str) -> None:
    """Write summary.json and print the table."""
    write_json(Path(work_dir, 'summary.json'), summary)
    print()
    for title, key in ROWS:
        value = summary[key]
        digits = 3 if 'jaccard' in key else 1
        shown = '-' if value is None else f'{value:.{digits}f}'
        print(f'{title:22}{shown:>8}')
    print(f'\nIn {work_dir}: {picture}, curves.png, summary.json')


if __name__ == '__main__':
    main()
