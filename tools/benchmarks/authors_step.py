"""The training step of the authors' own code beside ours, in turn.

Their networks, loss, clipping, optimizer and average of the teacher come from
a checkout of theirs; on a GPU with their float16 and loss scale, ours with
bfloat16. The same sizes of crops and batch; K is 65,536.

    python tools/benchmarks/authors_step.py --reference CHECKOUT
"""
import argparse
import sys
from pathlib import Path
from typing import List

import torch
import torch.distributed
from side_by_side import compare, parse, parser, report
from torch import Tensor
from train_step import (LR, MAX_NORM, MOMENTUM, SIZES, WEIGHT_DECAY, Ours,
                        make_crops, make_model)

PROTOTYPES = dict(tiny=64, full=65536)
BF16 = 'PerParameterClipBFloat16OptimWrapper'


class Authors:
    """A step of their ``main_dino.py`` without its log.

    Args:
        size (str): 'tiny' or 'full'.
        crops (list[Tensor]): Uint8 views; they are normalised here once for
            all, as their loader's workers would.
        device (str): 'cuda' or 'cpu'.
    """

    def __init__(self, size: str, crops: List[Tensor], device: str) -> None:
        import main_dino
        import utils
        import vision_transformer as vits
        self.utils, prototypes = utils, PROTOTYPES[size]
        self.device, half = device, device == 'cuda'

        def network() -> torch.nn.Module:
            vit = vits.vit_small(
                patch_size=16) if size == 'full' else (vits.VisionTransformer(
                    img_size=[32],
                    patch_size=16,
                    embed_dim=24,
                    depth=2,
                    num_heads=3,
                    qkv_bias=True))
            widths = {} if size == 'full' else dict(
                hidden_dim=32, bottleneck_dim=16)
            head = vits.DINOHead(vit.embed_dim, prototypes, **widths)
            return utils.MultiCropWrapper(vit, head).to(device)

        self.student, self.teacher = network(), network()
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        self.loss = main_dino.DINOLoss(prototypes, len(crops), .04, .04, 0,
                                       100).to(device)
        self.optimizer = torch.optim.AdamW(
            utils.get_params_groups(self.student),
            lr=LR,
            weight_decay=WEIGHT_DECAY)
        self.scaler = torch.amp.GradScaler(device, enabled=half)
        self.half = half
        mean = torch.tensor([123.675, 116.28, 103.53]).view(-1, 1, 1)
        self.crops = [((crop - mean) / 57.) for crop in crops]
        if half:
            self.crops = [crop.pin_memory() for crop in self.crops]

    def __call__(self) -> float:
        crops = [c.to(self.device, non_blocking=True) for c in self.crops]
        with torch.autocast(self.device, torch.float16, enabled=self.half):
            targets = self.teacher(crops[:2])
            loss = self.loss(self.student(crops), targets, 1)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        self.utils.clip_gradients(self.student, MAX_NORM)
        self.utils.cancel_gradients_last_layer(1, self.student, 1)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        with torch.no_grad():
            for ours, theirs in zip(self.student.parameters(),
                                    self.teacher.parameters()):
                theirs.data.mul_(MOMENTUM).add_((1 - MOMENTUM) * ours.data)
        return loss.item()


def main(args: argparse.Namespace) -> None:
    if not Path(args.reference, 'main_dino.py').is_file():
        sys.exit(f'{args.reference} has no main_dino.py: give a checkout of '
                 "the authors' code.")
    sys.path.insert(0, args.reference)
    # Their loss adds the centre up over the processes.
    torch.distributed.init_process_group(
        'nccl' if args.device == 'cuda' else 'gloo',
        store=torch.distributed.HashStore(),
        rank=0,
        world_size=1)
    size, sizes = ('tiny', 2 * [32] + 8 * [16]) if args.tiny else ('full',
                                                                   SIZES)
    crops = make_crops(args.images, sizes)
    wrapper = BF16 if args.device == 'cuda' else 'PerParameterClipOptimWrapper'
    ours = Ours(make_model(size).to(args.device), crops, wrapper)
    figures = compare(
        Authors(size, crops, args.device),
        ours,
        args,
        per_round=args.images,
        unit='images/s')
    figures['authors'] = figures.pop('straightforward')
    report('authors_step', unit='images/s', images=args.images, **figures)
    torch.distributed.destroy_process_group()


if __name__ == '__main__':
    options = parser(__doc__, rounds=10)
    options.add_argument(
        '--reference', required=True, help="checkout of the authors' code")
    options.add_argument('--images', type=int, default=32, help='batch')
    options.add_argument('--device', default='cpu')
    options.add_argument('--tiny', action='store_true')
    main(parse(options))
