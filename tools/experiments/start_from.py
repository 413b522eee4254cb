"""Compare starts from trained and random weights, in a small experiment:

    python tools/experiments/start_from.py --work-dir work_dirs/start_from

A tiny ViT is pretrained on half of the classes of ShapeScenes. It takes the
role of a published backbone: it is trained further, adapted and distilled on a
few images of the other classes. Networks of the same sizes are trained from
random weights for the same CPU time. All are measured by k-NN top-1 on the
other classes. Finished runs are not repeated. The work dir gets table.md and
the figures of each run.
"""
import argparse
import copy
import json
import time
from pathlib import Path
from statistics import fmean

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdino.datasets import ShapeScenes
from mmdino.engine.configs import prepare, read_config
from mmdino.engine.launch import build_runner
from mmdino.experiments.jobs import table, write_json, write_text
from mmdino.utils.tool import Parser, run_tool

BASE = 'configs/ablations/_base_/shapescenes.py'
CLASSES = ShapeScenes.METAINFO['classes']
KNN = 'knn/k20_top1'
TRIAL = 3  # epochs, of which the first is not timed


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        '--work-dir',
        type=Path,
        required=True,
        help='folder of the runs and the table')
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[0, 1, 2],
        help='seeds; each training is run with each of them (default: 0 1 2)')
    parser.add_argument(
        '--images',
        type=int,
        nargs=2,
        default=[640, 320],
        help='numbers of images of the pretraining and of the trainings')
    parser.add_argument(
        '--seconds',
        type=float,
        default=15.,
        help='CPU time of each training in seconds')
    parser.add_argument(
        '--epochs', type=int, default=25, help='epochs of the pretraining')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    init_default_scope('mmdino')
    torch.set_num_threads(1)
    start = args.work_dir / 'published'
    first = run(pretraining(args.images[0], args.epochs), start, seed=0)
    weights = str(start / f'epoch_{args.epochs}.pth')
    lines = [['training', 'epochs', 'before', 'after', 'of the seeds']]
    for name, (title, settings) in trainings(weights).items():
        cfg = other_patterns(settings, args.images[1])
        epochs = fitting_epochs(cfg, args.work_dir / name, args.seconds)
        cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
        found = [
            run(cfg, args.work_dir / name / f'seed_{seed}', seed)
            for seed in args.seeds
        ]
        after = [figures['after'] for figures in found]
        lines.append([
            title,
            str(epochs), f'{fmean(f["before"] for f in found):.1f}',
            f'{fmean(after):.1f}', ', '.join(f'{knn:.1f}' for knn in after)
        ])
        write_text(args.work_dir / 'table.md', table(lines) + '\n')
        print(table(lines), flush=True)
    print(f'The pretraining on its own patterns: {first}')


def trainings(start: str) -> dict[str, tuple[str, dict]]:
    """Return titles and settings of the trainings, by name."""
    waits = dict(
        teacher=dict(momentum=.99),
        freeze_backbone=dict(
            type='FreezeBackboneHook', num_iters=.1, warmup_iters=0))
    half = dict(
        arch=dict(
            embed_dims=24, num_layers=2, num_heads=6, feedforward_channels=48))
    return dict(
        nothing=('from nothing', {}),
        continued=('continued',
                   dict(
                       load_from=start,
                       optim_wrapper=dict(
                           constructor='LayerDecayConstructor',
                           paramwise_cfg=dict(
                               layer_decay_rate=.8, backbone_lr_mult=.1)),
                       default_hooks=waits)),
        adapted=('adapted: LoRA and anchor',
                 dict(
                     load_from=start,
                     model=dict(
                         lora=dict(type='LoRA', rank=8, alpha=8.),
                         anchor=dict(type='AnchorLoss')),
                     default_hooks=waits)),
        half=('half as wide, from nothing', dict(model=dict(backbone=half))),
        distilled=(
            'half as wide, distilled',
            dict(
                model=dict(
                    type='Distillation',
                    backbone=half,
                    frozen=dict(type='FrozenTeacher', checkpoint=start)))))


def base_cfg(classes: tuple[str, ...], images: int) -> Config:
    """Return the config of a small ViT, validated at the start and the end.
    """
    cfg = read_config(BASE)
    gallery = cfg.val_cfg.gallery_dataloader
    for loader in (cfg.train_dataloader, cfg.val_dataloader, gallery):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(classes=classes, num_images=images)
    cfg.val_dataloader.dataset.num_images = 500
    cfg.val_cfg.baseline_images = 0
    cfg.val_evaluator = dict(type='KNNAccuracy', k=(20, ))
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    cfg.default_hooks.validate_first = dict(type='ValidateFirstHook')
    return cfg


def pretraining(images: int, epochs: int) -> Config:
    """Return the config of the pretraining."""
    cfg = base_cfg(CLASSES[::2], images)
    cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    return cfg


def other_patterns(settings: dict, images: int) -> Config:
    """Return the config of a training on few images of the other classes."""
    cfg = base_cfg(CLASSES[1::2], images)
    cfg.train_dataloader.batch_size = 32
    cfg.merge_from_dict(settings)
    if cfg.model.type == 'Distillation':
        for part in ('head', 'centering', 'loss'):
            cfg.model.pop(part)
        for hook in ('centering', 'freeze_last_layer', 'collapse'):
            cfg.default_hooks.pop(hook)
    return cfg


def fitting_epochs(cfg: Config, folder: Path, seconds: float) -> int:
    """Return how many epochs fit into a CPU time, by a short training."""
    kept = folder / 'epochs.json'
    if not kept.exists():
        cfg = copy.deepcopy(cfg)
        cfg.train_cfg.update(max_epochs=TRIAL, val_interval=TRIAL + 1)
        cfg.default_hooks.pop('validate_first')
        clock = []
        runner = make_runner(cfg, folder / 'trial', 0)
        run_epoch = runner.train_loop.run_epoch

        def timed() -> None:
            run_epoch()
            clock.append(time.process_time())

        runner.train_loop.run_epoch = timed
        runner.train()
        each = (clock[-1] - clock[0]) / (TRIAL - 1)
        write_json(kept, dict(epochs=max(TRIAL, round(seconds / each))))
    return json.loads(kept.read_text())['epochs']


def run(cfg: Config, folder: Path, seed: int) -> dict[str, float]:
    """Train; return k-NN before and after, and the CPU time."""
    kept = folder / 'figures.json'
    if not kept.exists():
        runner = make_runner(copy.deepcopy(cfg), folder, seed)
        started = time.process_time()
        runner.train()
        seconds = time.process_time() - started
        rows = runner.message_hub.runtime_info['validations']
        write_json(
            kept,
            dict(before=rows[0][KNN], after=rows[-1][KNN], cpu_s=seconds))
    return json.loads(kept.read_text())


def make_runner(cfg: Config, folder: Path, seed: int):
    cfg.work_dir, cfg.launcher = str(folder), 'none'
    cfg.experiment_name = f'{folder}'.replace('/', '_')
    cfg.randomness.seed = seed
    return build_runner(prepare(cfg))


if __name__ == '__main__':
    run_tool(main)
