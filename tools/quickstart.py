"""Pretrain a small network with DINO, evaluate it and draw what it sees.

    python tools/quickstart.py
    python tools/quickstart.py --data PHOTOS --weights dino_vit-s16
    python tools/quickstart.py --data PHOTOS

Without --data it trains on ShapeScenes, synthetic images that are drawn while
training. At the end it prints a table and a verdict, and writes summary.json
and pictures to the work dir.

With --weights nothing is trained. It evaluates these weights on 500 of the
images, which takes about a minute of CPU time for a ViT-S/16.
"""
import argparse
import copy
import os
import os.path as osp
import textwrap
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, find_latest_checkpoint

from mmdino.apis import get_model
from mmdino.datasets import Images
from mmdino.datasets.shrinking import shrink_folder
from mmdino.engine.arguments import (CHECKPOINT, CONFIG, add_device,
                                     add_download, add_settings)
from mmdino.engine.configs import loaders, override, read_config
from mmdino.engine.folders import find_split, read_folder
from mmdino.engine.testing import use_checkpoint
from mmdino.experiments.first_look import first_look
from mmdino.experiments.jobs import write_json
from mmdino.experiments.verdict import verdict
from mmdino.models import DINO
from mmdino.pictures.attention import draw_attention
from mmdino.pictures.curves import draw_curves
from mmdino.registry import DATASETS
from mmdino.utils.device import use_device
from mmdino.utils.tool import Parser, run_tool
from mmdino.weights.config import training_size

MAX_LOOKED_AT = 500  # images in a first look: a minute on two cores
SHRINK = 3  # short side of shrunk photos, as a multiple of the view size
PICTURES = 8  # number of images with their attention
LONE_IMAGE = 'there is only one image that can be read: give two or more'
LONE_CLASS = ('there are fewer than two classes: put the images of each class '
              'into a folder of its own')
ROWS = (('k-NN top-1, %', 'knn_top1'), ('  untrained network',
                                        'knn_top1_untrained'),
        ('  raw pixels', 'knn_top1_pixels'), ('attention Jaccard',
                                              'attention_jaccard'),
        ('  untrained network', 'attention_jaccard_untrained'),
        ('training, images/s', 'images_per_second'), ('wall time, s',
                                                      'wall_s'))


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        '--data',
        help='folder of images, with or without one sub-folder for each class')
    parser.add_argument(
        '--config',
        help=f'another {CONFIG}. It needs a test loop on labelled images and, '
        'with --data, data sets of the type Images')
    parser.add_argument(
        '--checkpoint',
        '--weights',
        dest='weights',
        metavar='FILE_OR_NAME',
        help='evaluate a checkpoint on --data, without training: '
        f'{CHECKPOINT}')
    add_download(parser)
    parser.add_argument(
        '--work-dir',
        default='work_dirs/quickstart',
        help='folder of logs, checkpoints and pictures (default: '
        'work_dirs/quickstart)')
    parser.add_argument(
        '--epochs',
        type=int,
        help='number of epochs instead of that of the config')
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of training (default: 0)')
    add_settings(parser)
    add_device(parser)
    args = parser.parse_args()
    unused = [
        name for name in ('config', 'epochs', 'cfg_options')
        if args.weights and getattr(args, name)
    ]
    if args.weights and not args.data:
        parser.error('--weights evaluates weights on images of your own: '
                     'give --data DIR')
    if unused:
        option = unused[0].replace('_', '-')
        parser.error('nothing is trained with --weights: leave out '
                     f'--{option}')
    return args


def main() -> None:
    args = parse_args()
    init_default_scope('mmdino')
    use_device(args.device)
    if args.weights:
        show_weights(args)
    else:
        train(args)


def show_weights(args: argparse.Namespace) -> None:
    """Evaluate given weights on a folder."""
    start, folder = time.time(), Path(args.work_dir)
    model = get_model(args.weights, device=args.device)
    size = model.preprocessing['size']
    # CenterView resizes images to 8/7 of this size: half as much again is
    # enough.
    shrunk = shrink_folder(Path(args.data).absolute(), 3 * size // 2)
    # One part alone, since the names of parts are no classes.
    train, held = find_split(args.data)
    part = held or train
    images = Images(str(shrunk), subset=part)
    found = first_look(model, images, MAX_LOOKED_AT, folder)
    found['wall_s'] = time.time() - start
    write_json(folder / 'summary.json', found)
    print(f'\n{args.weights} on {found["images"]} of {len(images)} images'
          f'{part and f" of {part}/"}, in {found["wall_s"]:.0f} s, '
          'nothing trained:')
    if found['knn_top1'] is None:
        print('  no k-NN, because ' +
              (LONE_IMAGE if found['images'] < 2 else LONE_CLASS))
    else:
        print(f'  k-NN top-1 among themselves {found["knn_top1"]:.1f} %, by '
              f'raw pixels {found["knn_top1_pixels"]:.1f} %')
    names = sorted(path.name for path in folder.glob('*.png'))
    names += ['features.npz', 'summary.json']
    print(f'In {folder}: {", ".join(names)}')


def train(args: argparse.Namespace) -> None:
    """Train, test, draw pictures and print a verdict."""
    start = time.time()
    cfg = load_config(args)
    share_cores(cfg)
    trainer = Runner.from_cfg(cfg)
    trainer.train()
    iteration_s = trainer.message_hub.get_scalar('train/time').mean()
    checkpoint = find_latest_checkpoint(cfg.work_dir)
    scores = score(cfg, checkpoint)
    folder = Path(cfg.work_dir)
    if cfg.model.get('predict_attention') and not args.data:
        draw_pictures(trainer.model, cfg)
    else:
        images = DATASETS.build(cfg.test_dataloader.dataset if scores else cfg.
                                train_dataloader.dataset)
        teacher = get_model(checkpoint, device=args.device)
        first_look(teacher, images, MAX_LOOKED_AT, folder)
    draw_curves(
        Path(trainer.log_dir),
        out=folder / 'curves.png',
        num_prototypes=cfg.model.head.out_dim)
    summary = dict(
        knn_top1=scores.get('knn/k20_top1'),
        knn_top1_untrained=scores.get('knn/k20_top1_untrained'),
        knn_top1_pixels=scores.get('knn/k20_top1_pixels'),
        attention_jaccard=scores.get('attention/jaccard'),
        attention_jaccard_untrained=scores.get('attention/jaccard_untrained'),
        images_per_second=cfg.train_dataloader.batch_size / iteration_s,
        wall_s=time.time() - start)
    summary['verdict'] = verdict(
        *(summary[f'knn_top1{name}']
          for name in ('', '_pixels', '_untrained')),
        queries=len(DATASETS.build(cfg.test_dataloader.dataset)),
        images=len(trainer.train_dataloader.dataset),
        epochs=cfg.train_cfg.max_epochs,
        size=training_size(cfg),
        own_data=args.data is not None)
    report(folder, summary)


def share_cores(cfg: Config) -> None:
    """Give half of the cores, at least one, to the data loaders.

    The training gets the others. With more threads than free cores, its
    threads would wait for each other.
    """
    cores = os.cpu_count()
    for loader in loaders(cfg):
        if loader.get('num_workers'):
            loader.num_workers = max(1, cores // 2)
    torch.set_num_threads(max(1, cores - cores // 2))


def load_config(args: argparse.Namespace) -> Config:
    """Read the config of the data at hand and merge the options."""
    packaged = 'resnet10_images' if args.data else 'vit-tiny_shapescenes'
    cfg = read_config(args.config or f'quickstart/dino_{packaged}')
    override(cfg, args.cfg_options)
    if args.data:
        use_folder(cfg, Path(args.data).absolute())
    if args.epochs is not None:
        cfg.train_cfg.max_epochs = args.epochs
    warmup = cfg.param_scheduler.get('warmup_epochs', 0)
    if cfg.train_cfg.max_epochs <= warmup:
        raise ValueError(
            f'The training of {cfg.train_cfg.max_epochs} epochs must be '
            f'longer than its warm-up of {warmup} epochs: give --epochs '
            f'{int(warmup) + 1} or more.')
    cfg.work_dir = args.work_dir
    cfg.randomness.seed = args.seed
    return cfg


def use_folder(cfg: Config, root: Path) -> None:
    """Let a config train and test on a folder, see :func:`.read_folder`.

    Large photos are shrunk once. Without labels there is no test.

    Raises:
        ValueError: If there is no such folder or it has fewer than two images,
            or if the config has data sets of other types than Images, or no
            validation.
    """
    if not root.is_dir():
        raise ValueError(f'--data {root} is not a folder: name a folder of '
                         'images.')
    for loader in loaders(cfg):
        kind = loader.dataset.type.removeprefix('mmdino.')
        if kind != 'Images':
            raise ValueError(
                f'--data needs a config whose data sets are of the type '
                f'Images, and {cfg.filename} has {kind}: use another '
                '--config, such as quickstart/dino_resnet10_images, or leave '
                'it out.')
    if not cfg.get('val_dataloader'):
        raise ValueError(
            '--data needs a config with a validation, which becomes the '
            f'test, and {cfg.filename} has none: use another --config, such '
            'as quickstart/dino_resnet10_images, or leave it out.')
    labelled = read_folder(
        cfg, str(shrink_folder(root, SHRINK * training_size(cfg))))
    cfg.test_dataloader = cfg.val_dataloader
    cfg.test_cfg.gallery_dataloader = cfg.val_cfg.gallery_dataloader
    if not labelled:
        cfg.test_evaluator = []


def score(cfg: Config, checkpoint: str) -> dict[str, float]:
    """Run the config's test and return its metrics, with the baselines."""
    if not cfg.test_evaluator:
        return {}
    cfg = copy.deepcopy(cfg)
    unused = dict.fromkeys(f'{part}_{what}' for part in ('train', 'val')
                           for what in ('cfg', 'dataloader', 'evaluator'))
    settings = dict(
        unused,
        optim_wrapper=None,
        param_scheduler=None,
        work_dir=osp.join(cfg.work_dir, 'test'),
        experiment_name='test',
        log_level='WARNING')  # the trainer has logged the rest already
    for key, value in settings.items():
        cfg[key] = value
    use_checkpoint(cfg, checkpoint)
    runner = Runner.from_cfg(cfg)
    for logger in (runner.logger, *runner.logger.handlers):
        logger.setLevel('INFO')
    runner.logger.info('Scoring the trained network')
    return runner.test()


def draw_pictures(model: DINO, cfg: Config) -> None:
    """Draw some test images with the attention of the class token."""
    model.eval()
    shown = DATASETS.build(cfg.test_dataloader.dataset)
    chosen = np.linspace(0, len(shown) - 1, min(PICTURES, len(shown)))
    batch = default_collate([shown[int(i)] for i in chosen])
    samples = model.test_step(batch)
    draw_attention(
        batch['inputs'].flip(1).permute(0, 2, 3, 1).numpy(),
        [sample.attention for sample in samples],
        masks=[s.gt_mask
               for s in samples] if 'gt_mask' in samples[0] else None,
        out=osp.join(cfg.work_dir, 'attention.png'))


def report(folder: Path, summary: dict) -> None:
    """Write summary.json, print the table and the verdict."""
    write_json(folder / 'summary.json', summary)
    print()
    for title, key in ROWS:
        value = summary[key]
        digits = 3 if 'jaccard' in key else 1
        shown = '-' if value is None else f'{value:.{digits}f}'
        print(f'{title:22}{shown:>8}')
    print()
    print(textwrap.fill(summary['verdict'], 79))
    names = ', '.join(sorted(path.name for path in folder.glob('*.png')))
    print(f'\nIn {folder}: {names}, summary.json')


if __name__ == '__main__':
    run_tool(main)
