"""The code of DINO's authors, as the side 'authors' of the benchmarks.

Their code is not part of this file: :func:`.side_by_side.import_authors` makes
a checkout importable, and these functions call it as its scripts do. T teacher
and V student views, B images, K prototypes, D features, M masked patches, N
patches, Q queries, G gallery images.
"""
import argparse
import io
from collections.abc import Callable, Sequence

import torch
import torch.nn as nn
from mmengine.fileio import get
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

# Mean and standard deviation in their transforms.
MEAN = torch.tensor([123.675, 116.28, 103.53]).view(-1, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(-1, 1, 1)
TINY = dict(
    img_size=[32],
    patch_size=16,
    embed_dim=24,
    depth=2,
    num_heads=3,
    qkv_bias=True)


class Photos(Dataset):
    """JPEGs with their augmentation: views (3, H, W), float32, normalised."""

    def __init__(self, paths: Sequence[str]) -> None:
        from main_dino import DataAugmentationDINO
        self.paths = paths
        self.augment = DataAugmentationDINO((.4, 1.), (.05, .4), 8)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> list[Tensor]:
        data = io.BytesIO(get(self.paths[index]))
        return self.augment(Image.open(data).convert('RGB'))


def loss(student: Tensor, teacher: Tensor, temps: Sequence[float],
         momentum: float) -> Callable[[], tuple[Tensor, ...]]:
    """Return a function that computes their loss.

    It returns the loss, its gradient (V, B, K) and the new centre (1, K).

    Args:
        student: Logits (V, B, K) that require a gradient.
        teacher: Logits (T, B, K).
        temps: Temperatures of student and teacher.
        momentum: Momentum of the centre.
    """
    from main_dino import DINOLoss
    module = DINOLoss(student.shape[-1], len(student), temps[1], temps[1], 0,
                      1, temps[0], momentum)
    module.center = module.center.to(student.dtype)

    def call() -> tuple[Tensor, ...]:
        student.grad = None
        module.center.zero_()
        value = module(student.flatten(0, 1), teacher.flatten(0, 1), 0)
        value.backward()
        return value.detach(), student.grad, module.center

    return call


def dinov2_parts(student: Tensor, teacher: Tensor, masks: Tensor,
                 features: Tensor, temps: Sequence[float], momentum: float,
                 grid: tuple[int, int]) -> dict[str, Callable]:
    """Return functions of their DINOv2 code, by the name of the part.

    Args:
        student: Logits (M, K) that require a gradient.
        teacher: Logits (M, K).
        masks: Masks (2 B, N) of the crops.
        features: Class tokens (2, B, D) that require a gradient.
        temps: Temperatures of student and teacher.
        momentum: Momentum of the centre.
        grid: Rows and columns of patches.
    """
    from dinov2.data.collate import collate_data_and_cast
    from dinov2.data.masking import MaskingGenerator
    from dinov2.loss import KoLeoLoss, iBOTPatchLoss
    loss = iBOTPatchLoss(student.shape[-1], temps[0], momentum)
    koleo, count = KoLeoLoss(), masks.sum()
    weights = 1 / masks.sum(1).clamp_min(1)
    weights = weights[:, None].expand_as(masks)[masks]
    generator = MaskingGenerator(grid, max_num_patches=.5 * masks.shape[1])
    crops = dict(
        global_crops=2 * [torch.zeros(1)], local_crops=[torch.zeros(1)])

    def patch_loss() -> tuple[Tensor, Tensor]:
        student.grad = None
        loss.center.zero_()
        targets = loss.softmax_center_teacher(teacher[None], temps[1])[0]
        loss.update_center(teacher[None])
        value = loss.forward_masked(
            student, targets, masks, masks_weight=weights)
        value.backward()
        loss.apply_center_update()
        return value.detach(), student.grad

    def spread() -> tuple[Tensor, Tensor]:
        features.grad = None
        value = sum(map(koleo, features))
        value.backward()
        return value.detach(), features.grad

    return dict(
        patch_loss=patch_loss,
        sinkhorn=lambda: loss.sinkhorn_knopp_teacher(teacher, temps[1],
                                                     count.clone()),
        koleo=spread,
        masks=lambda: collate_data_and_cast(
            len(masks) // 2 * [(crops, )], (.1, .5), .5, torch.float32, masks.
            shape[1], generator)['collated_masks'])


def knn(queries: Tensor, gallery: Tensor, labels: Tensor, ks: Sequence[int],
        temperature: float, num_classes: int) -> Callable[[], list[float]]:
    """Compute their k-NN: top-1 in percent for each k.

    All queries count as class 0.
    """
    from eval_knn import knn_classifier
    truth = torch.zeros(len(queries), dtype=torch.int64)
    return lambda: [
        knn_classifier(gallery, labels, queries, truth, k, temperature,
                       num_classes)[0] for k in ks
    ]


class Step:
    """A step of their ``main_dino.py`` without its log.

    It uses their networks, loss, clipping and parameter groups, on a GPU in
    float16 with a loss scale. Learning rate, weight decay and momentum are
    constant.

    Args:
        size: 'tiny' or 'full', a ViT-S/16 with 65,536 prototypes.
        crops: Uint8 views, which are normalised once, since
            their loader's workers do it.
        settings: ``lr``, ``weight_decay``, ``max_norm`` and
            ``momentum``.
        device: 'cuda' or 'cpu'.
    """

    def __init__(self,
                 size: str,
                 crops: list[Tensor],
                 settings: dict[str, float],
                 device: str = 'cpu') -> None:
        import main_dino
        import utils
        self.utils, self.settings = utils, settings
        self.device, self.half = device, device == 'cuda'
        prototypes = 64 if size == 'tiny' else 65536
        self.student, self.teacher = (
            network(size, prototypes).to(device) for _ in range(2))
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        self.loss = main_dino.DINOLoss(prototypes, len(crops), .04, .04, 0,
                                       100).to(device)
        self.optimizer = torch.optim.AdamW(
            utils.get_params_groups(self.student),
            lr=settings['lr'],
            weight_decay=settings['weight_decay'])
        self.scaler = torch.amp.GradScaler(device, enabled=self.half)
        self.crops = [(crop - MEAN) / STD for crop in crops]
        if self.half:
            self.crops = [crop.pin_memory() for crop in self.crops]

    def __call__(self) -> float:
        crops = [c.to(self.device, non_blocking=True) for c in self.crops]
        with torch.autocast(self.device, torch.float16, enabled=self.half):
            targets = self.teacher(crops[:2])
            loss = self.loss(self.student(crops), targets, 1)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        self.utils.clip_gradients(self.student, self.settings['max_norm'])
        self.utils.cancel_gradients_last_layer(1, self.student, 1)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        follow(self.teacher, self.student, self.settings['momentum'])
        return loss.item()


def network(size: str, prototypes: int) -> nn.Module:
    """Return their backbone with their head."""
    import utils
    import vision_transformer as vits
    if size == 'tiny':
        vit, widths = vits.VisionTransformer(**TINY), dict(
            hidden_dim=32, bottleneck_dim=16)
    else:
        vit, widths = vits.vit_small(patch_size=16), {}
    head = vits.DINOHead(vit.embed_dim, prototypes, **widths)
    return utils.MultiCropWrapper(vit, head)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Update the teacher, as a loop in their script does."""
    for old, new in zip(teacher.parameters(), student.parameters()):
        old.data.mul_(momentum).add_((1 - momentum) * new.detach().data)


class Frames(nn.Module):
    """A network that returns given features, with their network's interface.
    """

    def __init__(self, patch_size: int) -> None:
        super().__init__()
        self.patch_embed = argparse.Namespace(patch_size=patch_size)

    def get_intermediate_layers(self, tokens: Tensor, n: int) -> list[Tensor]:
        return [self.tokens]


def propagation(target: Tensor, sources: Tensor, labels: Tensor, radius: int,
                topk: int) -> Callable[[], Tensor]:
    """Return a function for their label propagation to one frame.

    It returns soft labels (1, C, h, w) of C classes. The mask of the
    neighbourhood is made outside of it, because they make it once a video.

    Args:
        target: Features (h, w, D) of the frame.
        sources: Features (S, h, w, D) of S earlier frames.
        labels: Soft labels (S, C, h, w) of the earlier frames.
        radius: Radius of the neighbourhood, in patches.
        topk: Number of source patches that a patch takes labels from.
    """
    import eval_video_segmentation as video
    h, w, _ = target.shape
    args = argparse.Namespace(size_mask_neighborhood=radius, topk=topk)
    video.args = args  # a global variable of their script
    model, frame = Frames(1), torch.zeros(3, h, w)
    model.tokens = torch.cat(
        [torch.zeros(1, 1, target.shape[-1]),
         target.flatten(0, 1)[None]], 1)
    features = [source.flatten(0, 1).T for source in sources]
    near = video.restrict_neighborhood(h, w).repeat(len(sources), 1, 1)
    return lambda: video.label_propagation(args, model, frame, features,
                                           [*labels[:, None]], near)[0]
