"""Distillation of a frozen network into a smaller one.

Letters: V student views, T views that the frozen network sees, B images, D
width of the features of an image, E width of those of a patch, (h, w) the
patch grid.
"""
from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.nn.init import trunc_normal_

from mmdino.functional.losses import at_least_float32
from mmdino.models.embedding import (class_and_patches, embedding_width,
                                     require_patches)
from mmdino.models.mean_teacher import MeanTeacher, vectors_of_views
from mmdino.registry import MODELS, build_module


@MODELS.register_module()
class Distillation(MeanTeacher):
    """A student that learns the features of a frozen, larger network.

    The frozen network sees the global views. Linear layers project the
    student's features to the widths of the frozen network's, and the two are
    compared by cosine: features of the image and of its patches for the
    global views, features of the image for the local views, which are
    compared with the frozen network's features of each global view. Where the
    patch grids differ, the frozen network's is resampled to the student's.

    ``teacher`` is the moving average of the student, as in the other methods;
    it is what is validated, tested and exported. The frozen network is not
    saved in checkpoints.

    The image features follow DINOv2 (arXiv 2304.07193, sec. 5), but without
    its heads, which are not published; the patch features follow AM-RADIO
    (arXiv 2312.06709, sec. 3).

    Args:
        backbone: Config of the student's backbone.
        frozen: Config of the large network, a :class:`FrozenTeacher` with its
            ``checkpoint``.
        class_weight: Weight of the losses of image features.
        patch_weight: Weight of the loss of patch features; 0 for networks
            without patches.
        **kwargs: Other arguments of :class:`MeanTeacher`, such as ``neck``.

    Attributes:
        frozen (FrozenTeacher): The large network, not a submodule.

    Raises:
        ValueError: If a weight is negative or both are 0; if ``patch_weight``
            is not 0 and a network gives no patches; if the networks take
            images with other channels; in forward, if the frozen network
            does not accept the size of the global views.
    """

    def __init__(self,
                 backbone: dict,
                 frozen: dict,
                 class_weight: float = 1.,
                 patch_weight: float = 1.,
                 **kwargs) -> None:
        if min(class_weight,
               patch_weight) < 0 or not (class_weight + patch_weight):
            raise ValueError(
                'Distillation: weights must be >= 0 and one of them > 0, got '
                f'class_weight={class_weight}, patch_weight={patch_weight}.')
        super().__init__(backbone, **kwargs)
        self.class_weight = class_weight
        self.patch_weight = patch_weight
        # Not a submodule, so that it is neither saved nor loaded, and neither
        # the optimizer nor DDP sees its parameters.
        self.__dict__['frozen'] = build_module(frozen)
        self._check_channels()
        self._renormalises = self._normalises_otherwise(
            kwargs.get('data_preprocessor') or {})
        self._copy_to_teacher()
        widths = [
            self._widths(dict(network))
            for network in (self._student(), self.frozen.parts)
        ]
        self.class_projector, self.patch_projector = (nn.Linear(
            ours, theirs) if ours else None for ours, theirs in zip(*widths))

    def init_weights(self) -> None:
        """Initialise the student and the projectors."""
        super().init_weights()
        for projector in (self.class_projector, self.patch_projector):
            if projector is not None:
                trunc_normal_(projector.weight, std=.02)
                nn.init.zeros_(projector.bias)

    def loss(self,
             inputs: list[Tensor],
             data_samples: list | None = None) -> dict[str, Tensor]:
        """Compare the student's features with those of the frozen network.

        Args:
            inputs: V views, each (B, C, H, W), global views first.
            data_samples: Ignored, there are no labels to learn from.

        Returns:
            The weighted losses whose sum is minimised, each a mean of
            1 - cosine: ``loss_cls`` and, with local views, ``loss_local`` if
            ``class_weight`` is not 0; ``loss_patch`` if ``patch_weight`` is
            not 0.

        Raises:
            ValueError: If the frozen network does not accept the size of the
                global views.
        """
        num_global = self._count_teacher_views(inputs)
        crops = torch.cat(inputs[:num_global])
        targets, patch_targets = self._targets(crops)
        features, patches = class_and_patches(self._student(), crops)
        losses = {}
        if self.class_weight:
            ours = self.class_projector(features)
            losses['loss_cls'] = self.class_weight * _distance(ours, targets)
            if len(inputs) > num_global:
                local = vectors_of_views(self._student(), inputs[num_global:])
                ours = self.class_projector(local)
                losses['loss_local'] = self.class_weight * _distance(
                    ours.unflatten(0, (-1, 1, len(inputs[0]))),
                    targets.unflatten(0, (1, num_global, -1)))
        if self.patch_weight:
            ours = self.patch_projector(patches.permute(0, 2, 3, 1))
            theirs = resample(patch_targets, patches.shape[-2:])
            losses['loss_patch'] = self.patch_weight * _distance(
                ours, theirs.permute(0, 2, 3, 1))
        return losses

    @torch.no_grad()
    def _targets(self, crops: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute the frozen network's features of crops (T B, C, H, W)."""
        # Not a submodule: it does not move to the device with the model.
        self.frozen.to(crops)
        ours, theirs = self.data_preprocessor, self.frozen.data_preprocessor
        if self._renormalises:
            crops = crops * ours.std + ours.mean
            crops = (crops - theirs.mean) / theirs.std
        try:
            return class_and_patches(self.frozen.parts, crops)
        except ValueError as error:
            height, width = crops.shape[-2:]
            raise ValueError(
                f'The frozen network does not accept global views of '
                f'{height} x {width} px: {error} Change the size of the '
                'global crops in train_dataloader, or use another frozen '
                'network.') from error

    def _normalises_otherwise(self, ours: dict) -> bool:
        """Return whether the two networks normalise images differently."""
        theirs = self.frozen.preprocessing
        return self.data_preprocessor._enable_normalize and any(
            list(ours[name]) != list(theirs[name]) for name in ('mean', 'std'))

    def _check_channels(self) -> None:
        ours, theirs = self.data_preprocessor, self.frozen.data_preprocessor
        for name in ('_channel_conversion', '_enable_normalize'):
            if getattr(ours, name) != getattr(theirs, name):
                raise ValueError(
                    'The student and the frozen network need different '
                    'images: the order of the channels or the normalisation '
                    'differs. Set model.data_preprocessor to match '
                    f'{self.frozen.preprocessing}.')

    def _widths(self, network: dict) -> list[int | None]:
        """Return D and E of a network, None for features without weight."""
        mean = getattr(self.data_preprocessor, 'mean', None)
        channels = 3 if mean is None else len(mean)
        return [
            embedding_width(network, partial(_part, i), channels)
            if weight else None
            for i, weight in enumerate((self.class_weight, self.patch_weight))
        ]


def resample(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resample patch features (B, E, h', w') to another grid (h, w).

    The interpolation is bilinear and antialiased, so that patches of a coarser
    grid average the patches they cover.
    """
    if tuple(patches.shape[-2:]) == tuple(grid):
        return patches
    return F.interpolate(
        at_least_float32(patches),
        tuple(grid),
        mode='bilinear',
        align_corners=False,
        antialias=True)


def _part(index: int, network: dict, images: Tensor) -> Tensor:
    """Return the features of the image (index 0) or of its patches (1)."""
    if index == 0:
        return class_and_patches(network, images)[0]
    try:
        return require_patches(network, images)
    except ValueError as error:
        raise ValueError(f'{error} Set model.patch_weight=0.') from error


def _distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Compute the mean of 1 - cosine over all features (..., D)."""
    with torch.autocast(ours.device.type, enabled=False):
        return 1 - F.cosine_similarity(
            at_least_float32(ours), at_least_float32(theirs), dim=-1).mean()
