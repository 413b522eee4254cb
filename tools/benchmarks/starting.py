"""Count the memory of the ways to start from trained weights.

    python tools/benchmarks/starting.py
    python tools/benchmarks/starting.py --tiny  # also time tiny networks

It counts on torch's meta device, which computes nothing: the trained
parameters; the bytes of weights (shared ones once), of gradients and of
AdamW's moments; and what the forward pass of an image and its crops stores for
the backward pass, in float32.
"""
import argparse
import time
from contextlib import nullcontext
from unittest.mock import patch

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from mmdino.engine.configs import read_config
from mmdino.experiments.jobs import table
from mmdino.models import total_loss
from mmdino.registry import build_module
from mmdino.utils.tool import Parser, run_tool

CONFIGS = dict(
    continued='continue/dinov2_vit-{}14',
    adapted='adapt/dinov2_vit-{}14',
    distilled='distil/dinov2_vit-s14_to_vit-t16')
TINY = dict(embed_dims=96, num_layers=3, num_heads=3, feedforward_channels=192)
IMAGES = 4


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        '--tiny',
        action='store_true',
        help='also time steps of tiny networks on this CPU')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    init_default_scope('mmdino')
    head = [
        'training', 'trained, M', 'weights, MB', 'gradients and moments, MB',
        'kept for backward, MB an image'
    ]
    lines = [head + ['a step, s'] * args.tiny]
    for name, config in CONFIGS.items():
        for size in ('s', 'b') if '{}' in config else ('s', ):
            cfg = read_config(f'configs/{config.format(size)}.py')
            lines.append([f'{name}, {cfg_title(cfg)}', *count(cfg)] +
                         [''] * args.tiny)
        if args.tiny:
            cfg = shrink(read_config(f'configs/{config.format("s")}.py'))
            lines.append(
                [f'{name}, tiny', *count(cfg), f'{seconds_of_step(cfg):.2f}'])
    print(table(lines))


def cfg_title(cfg: Config) -> str:
    """Return the name of the network, such as 'ViT-S/16'."""
    backbone = cfg.model.backbone
    letter = backbone.arch.removeprefix('deit-')[0].upper()
    return f'ViT-{letter}/{backbone.patch_size}'


def shrink(cfg: Config) -> Config:
    """Return the config with tiny networks and crops of 56 and 28 px."""
    patch = 8 if cfg.model.type == 'Distillation' else 14
    cfg.model.backbone.update(arch=TINY, img_size=56, patch_size=patch)
    if 'head' in cfg.model:
        cfg.model.head.update(out_dim=256, hidden_channels=256)
    views = cfg.train_dataloader.dataset.pipeline.views
    for name, view in views.items():
        view.crop.size = 56 if name.startswith('global') else 28
        if patch == 8 and not name.startswith('global'):
            view.num_views = 0
    return cfg


def build(cfg: Config) -> nn.Module:
    """Build the model; a frozen network by its config, without its file."""
    if 'frozen' in cfg.model:
        arch = TINY if cfg.model.backbone.arch == TINY else 'deit-small'
        cfg.model.frozen = dict(
            type='FrozenTeacher',
            data_preprocessor=cfg.model.data_preprocessor,
            backbone=dict(
                type='VisionTransformer',
                arch=arch,
                patch_size=14,
                img_size=518 if arch != TINY else 56,
                layer_scale_init_value=1e-5))
    return build_module(cfg.model)


def crops_of(cfg: Config, device: str) -> list[torch.Tensor]:
    """Return views of some images, with the sizes of the config."""
    views = cfg.train_dataloader.dataset.pipeline.views
    return [
        torch.zeros(IMAGES, 3, view.crop.size, view.crop.size, device=device)
        for view in views.values() for _ in range(view.num_views)
    ]


def count(cfg: Config) -> list[str]:
    """Return the columns of the table that are counted."""
    with torch.device('meta'):
        model = build(cfg)
    model.train()
    networks = [model, *([model.frozen] if 'frozen' in cfg.model else [])]
    weights = {id(p): p for n in networks for p in n.parameters()}
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    own = {p.untyped_storage()._cdata for p in weights.values()}
    # The meta device has no autocast to switch off.
    with patch('torch.autocast', lambda *_, **__: nullcontext()), \
            saved_tensors_hooks(keep, lambda tensor: tensor):
        graph = total_loss(model(crops_of(cfg, 'meta'), mode='loss'))
    del graph
    sizes = sum(s.nbytes() for key, s in kept.items() if key not in own)
    return [
        f'{trained / 1e6:.1f}',
        f'{sum(4 * p.numel() for p in weights.values()) / 1e6:.0f}',
        f'{12 * trained / 1e6:.0f}', f'{sizes / IMAGES / 1e6:.0f}'
    ]


def seconds_of_step(cfg: Config, steps: int = 5) -> float:
    """Measure the CPU seconds of forward, backward and AdamW."""
    torch.set_num_threads(1)
    model = build(cfg)
    model.init_weights()
    model.train()
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], fused=True)
    crops = [torch.randn_like(crop) for crop in crops_of(cfg, 'cpu')]
    started = []
    for _ in range(steps + 1):
        started.append(time.process_time())
        total_loss(model(crops, mode='loss')).backward()
        optimizer.step()
        optimizer.zero_grad()
        model.update_teacher(.99)
    return (time.process_time() - started[1]) / steps


if __name__ == '__main__':
    run_tool(main)
