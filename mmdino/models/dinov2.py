"""DINOv2 (arXiv 2304.07193) and iBOT (arXiv 2111.07832): DINO with masked
patches.

Letters: V student views, T teacher views, B images, C = T B global crops, N
patches of a global crop, M masked patches of all crops, R registers, K
prototypes, D features.
"""
import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn as nn
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmdino.functional.losses import at_least_float32, token_weights
from mmdino.models.centerings import Centering
from mmdino.models.dino import DINO
from mmdino.models.mean_teacher import vectors_of_views
from mmdino.models.monitors import SharedSum, name_monitors
from mmdino.registry import MODELS, build_module


@MODELS.register_module()
class DINOv2(DINO):
    """A :class:`DINO` whose student also predicts masked patches.

    The teacher sees the global crops unmasked. The student sees them masked,
    and the local crops unmasked. Class tokens are compared as in DINO; at each
    masked patch the student's token is compared with the teacher's. KoLeo
    spreads the student's class tokens before the head. iBOT is the same
    without KoLeo and with one head for class tokens and patches.

    Args:
        backbone: Config of a backbone with tokens and a mask token, such as a
            :class:`VisionTransformer` with ``with_mask_token=True``.
        head: Config of the class tokens' head, as of :class:`DINO`.
        centering: Config of the class tokens' centering.
        loss: Config of the class tokens' loss.
        masking: Config of a :class:`Masking`, or of another module that is
            called with C and the grid (rows, columns) and returns masks
            (C, N).
        patch_centering: Config of the patches' centering, without ``out_dim``.
        patch_loss: Config of the patches' loss, see :class:`IBOTLoss`.
        patch_head: Config of the patches' head; by default they share that of
            the class tokens.
        koleo: Config of a :class:`KoLeoLoss`; by default there is none.
        patch_weight: Weight of the patches' loss.
        koleo_weight: Weight of the KoLeo loss.
        center_all_patches: Update the patches' centre with the teacher's
            logits of all patches, as in iBOT, instead of the masked ones only.
        tokens_per_chunk: Number of masked tokens that the patches' last layer
            and loss process at once. The teacher's targets are computed in
            chunks as well if the centering allows it
            (:attr:`Centering.is_by_row`). The result is the same; see
            :class:`IBOTLoss` for the memory.
        **kwargs: Other arguments of :class:`DINO`, but no ``neck``. A
            predictor applies to class tokens only.

    Raises:
        ValueError: If there is a neck; if the backbone has no tokens or no
            mask token; if the patches' head has batch normalisation, which
            fails on a rank without masked patches; if ``tokens_per_chunk`` or
            ``center_all_patches`` is given and a part does not support it.
    """

    PARTS = (*DINO.PARTS, 'patch_head')

    def __init__(self,
                 backbone: dict,
                 head: dict,
                 centering: dict,
                 loss: dict,
                 masking: dict,
                 patch_centering: dict,
                 patch_loss: dict,
                 patch_head: dict | None = None,
                 koleo: dict | None = None,
                 patch_weight: float = 1.,
                 koleo_weight: float = 0.1,
                 center_all_patches: bool = False,
                 tokens_per_chunk: int | None = None,
                 **kwargs) -> None:
        super().__init__(backbone, head, centering, loss, **kwargs)
        self.patch_head = None
        if patch_head is not None:
            self.patch_head = build_module(
                dict(patch_head, in_channels=self.num_features))
            self.teacher['patch_head'] = copy.deepcopy(
                self.patch_head).requires_grad_(False)
        self.masking = build_module(masking)
        self.patch_centering = build_module(
            dict(patch_centering, out_dim=self.heads[-1].out_dim))
        self.patch_loss = build_module(patch_loss)
        self.koleo = koleo and build_module(koleo)
        self.patch_weight = patch_weight
        self.koleo_weight = koleo_weight
        self.center_all_patches = center_all_patches
        self.tokens_per_chunk = tokens_per_chunk
        self._check_parts()

    @property
    def centerings(self) -> list[Centering]:
        """Return the centerings that a :class:`CenteringHook` updates."""
        return [self.centering, self.patch_centering]

    @property
    def prototypes(self) -> dict[str, int]:
        """Return the numbers of prototypes K, by the prefix in the log."""
        return {'': self.head.out_dim, 'patch_': self.heads[-1].out_dim}

    def loss(self,
             inputs: list[Tensor],
             data_samples: list | None = None) -> dict[str, Tensor]:
        """Compute the losses of the class tokens and of the masked patches.

        Args:
            inputs: V views, each (B, C, H, W), global views first.
            data_samples: Ignored, there are no labels to learn from.

        Returns:
            The weighted losses whose sum is minimised: ``loss_cls``,
            ``loss_patch``, with KoLeo ``loss_koleo`` and with an anchor
            ``loss_anchor``. For the log, without gradient: the figures that
            :class:`DINO` logs of the class tokens; those of
            :func:`target_monitors`, prefixed with ``patch_``, of the masked
            patches of all ranks; ``masked_share``, the share of the global
            crops' patches that are masked; with KoLeo ``koleo_duplicates``.

        Raises:
            ValueError: If a view is larger than the one before it, or the
                masks have the wrong shape.
        """
        num_global = self._count_teacher_views(inputs)
        crops = torch.cat(inputs[:num_global])
        masked = self._draw_masks(crops)
        targets, patch_targets = self._teach(crops, num_global, masked)
        tokens = self._tokens(self.backbone, crops, masked.masks)
        loss_patch = self._compare_patches(
            masked.select(self._patches(tokens)), patch_targets, masked)
        mean = at_least_float32(targets).mean((0, 1))
        shared = SharedSum([
            mean, patch_targets.sums, *(c for centering in self.centerings
                                        for c in centering.collected())
        ])
        features = tokens[:, 0]
        if len(inputs) > num_global:
            local = vectors_of_views(self._student(), inputs[num_global:])
            features = torch.cat([features, local])
        loss = self._compare(self._outputs(features, len(inputs)), targets)
        losses = dict(loss_cls=loss, loss_patch=self.patch_weight * loss_patch)
        if self.koleo is not None:
            losses['loss_koleo'] = self.koleo_weight * self.koleo(
                tokens[:, 0].unflatten(0, (num_global, -1)))
        if self.anchor is not None:
            losses['loss_anchor'] = self._anchor_loss(tokens, crops,
                                                      masked.masks)
        shared.wait()
        return dict(losses, **self._monitors(loss, targets, mean),
                    **self._patch_monitors(patch_targets.sums, masked))

    def _draw_masks(self, crops: Tensor) -> 'MaskedPatches':
        """Draw masks for the crops (C, 3, H, W), on their device."""
        grid = self.backbone.patch_grid(crops)
        masks = self.masking(len(crops), grid)
        if masks.shape != (len(crops), grid[0] * grid[1]):
            raise ValueError(
                f'{type(self.masking).__name__} gave masks of shape '
                f'{tuple(masks.shape)} for {len(crops)} crops of {grid[0]} x '
                f'{grid[1]} patches.')
        return MaskedPatches.of(masks, crops.device)

    @torch.no_grad()
    def _teach(self, crops: Tensor, num_views: int,
               masked: 'MaskedPatches') -> tuple[Tensor, 'PatchTargets']:
        """Compute the targets (T, B, K) of class tokens and those of patches.
        """
        tokens = self._tokens(self.teacher.backbone, crops)
        logits = self.teacher.head(tokens[:, 0])
        targets = self.centering(logits.unflatten(0, (num_views, -1)))
        patches = self._patches(tokens)
        head = _patch_head(self.teacher)
        if self.center_all_patches:
            self._center_others(head, masked.select_others(patches))
        return targets, self._patch_targets(head, masked.select(patches))

    def _patch_targets(self, head: nn.Module,
                       tokens: Tensor) -> 'PatchTargets':
        """Compute the targets (M, K) of the teacher's masked tokens (M, D)."""
        centering = self.patch_centering
        if self.tokens_per_chunk is None or not centering.is_by_row:
            return PatchTargets(centering(head(tokens)))
        weight = head.last_layer.weight

        def make(vectors: Tensor) -> Tensor:
            with torch.autocast(vectors.device.type, enabled=False):
                return centering(vectors @ weight.t())

        return PatchTargets(head.project(tokens), make)

    def _center_others(self, head: nn.Module, tokens: Tensor) -> None:
        """Record the logits of unmasked patches for the patches' centering."""
        for chunk in tokens.split(self.tokens_per_chunk or len(tokens) or 1):
            self.patch_centering.collect(head(chunk))

    def _compare_patches(self, tokens: Tensor, targets: 'PatchTargets',
                         masked: 'MaskedPatches') -> Tensor:
        """Compute the loss of the student's masked tokens (M, D)."""
        head = _patch_head(self._student())
        if self.tokens_per_chunk is None:
            return self.patch_loss(head(tokens), targets[:], masked.weights)
        return self.patch_loss.from_vectors(
            head.project(tokens), head.last_layer.weight, targets,
            masked.weights, self.tokens_per_chunk)

    def _patch_monitors(self, sums: Tensor,
                        masked: 'MaskedPatches') -> dict[str, Tensor]:
        """Compute the figures to log of the patches.

        ``sums`` are :attr:`PatchTargets.sums`, summed over the ranks.
        """
        total, entropy, count = sums.split([len(sums) - 2, 1, 1])
        count = count.clamp_min(1)
        monitors = name_monitors((entropy / count)[0], total / count)
        monitors = {f'patch_{name}': v for name, v in monitors.items()}
        share = len(masked.index) / masked.masks.numel()
        monitors['masked_share'] = sums.new_full((), share)
        if self.koleo is not None:
            monitors['koleo_duplicates'] = self.koleo.duplicates
        return monitors

    def _tokens(self,
                backbone: nn.Module,
                crops: Tensor,
                masks: Tensor | None = None) -> Tensor:
        """Compute all tokens (C, 1 + R + N, D) of crops (C, 3, H, W)."""
        return backbone(crops, masks, out_type='raw')[-1]

    def _patches(self, tokens: Tensor) -> Tensor:
        """Select the patch tokens (C N, D) of tokens (C, 1 + R + N, D)."""
        return tokens[:, self.backbone.num_extra_tokens:].flatten(0, 1)

    def _check_parts(self) -> None:
        """Raise an error if a part lacks what DINOv2 needs of it."""
        if self.neck is not None:
            raise ValueError('DINOv2 compares tokens and has no use for a '
                             'neck, which pools maps: leave model.neck out.')
        if not hasattr(self.backbone, 'patch_grid'):
            raise ValueError(
                'DINOv2 needs a backbone with tokens and masks, such as '
                'mmdino.VisionTransformer with with_mask_token=True; '
                f'{type(self.backbone).__name__} has none.')
        if getattr(self.backbone, 'mask_token', None) is None:
            raise ValueError(
                f'{type(self.backbone).__name__} has no mask token: set '
                'model.backbone.with_mask_token=True.')
        head = self.heads[-1]
        if any(isinstance(m, _BatchNorm) for m in head.modules()):
            raise ValueError(
                'The head of the masked patches has batch normalisation, '
                'which fails on a rank without masked patches: set '
                'use_bn=False.')
        if self.center_all_patches and (type(self.patch_centering).collect
                                        is Centering.collect):
            raise ValueError(
                'center_all_patches=True needs a patch_centering that collects'
                f' logits; {type(self.patch_centering).__name__} does not. '
                'Use MeanCentering, or leave center_all_patches out.')
        self._check_patch_chunks(head)

    def _check_patch_chunks(self, head: nn.Module) -> None:
        number = self.tokens_per_chunk
        if number is None:
            return
        if not isinstance(number, int) or number < 1:
            raise ValueError(
                'tokens_per_chunk must be an integer of at least 1, got '
                f'{number!r}')
        if not hasattr(head, 'project') or head.last_layer.bias is not None:
            raise ValueError(
                'tokens_per_chunk needs a patch head with a method project '
                'and a layer last_layer without bias, such as DINOHead; '
                f'{type(head).__name__} does not have both.')
        if getattr(self.patch_loss, 'from_vectors', None) is None:
            raise ValueError(
                'tokens_per_chunk needs a patch_loss with a method '
                f'from_vectors, such as IBOTLoss; '
                f'{type(self.patch_loss).__name__} has none.')


class MaskedPatches(NamedTuple):
    """The masked patches of a batch, with indices that need no device sync.

    Attributes:
        masks: Boolean (C, N).
        index: Indices (M, ) of the masked among all C N patches.
        others: Indices (C N - M, ) of the other patches.
        weights: Weights (M, ) of the masked patches in the loss.
    """
    masks: Tensor
    index: Tensor
    others: Tensor
    weights: Tensor

    @classmethod
    def of(cls, masks: Tensor, device: torch.device) -> 'MaskedPatches':
        """Build from masks (C, N); masks on the CPU need no device sync."""
        flat = masks.flatten()
        parts = (masks, flat.nonzero()[:, 0], (~flat).nonzero()[:, 0],
                 token_weights(masks))
        if device.type == 'cuda' and not masks.is_cuda:
            parts = [part.pin_memory() for part in parts]
        return cls(*(part.to(device, non_blocking=True) for part in parts))

    def select(self, patches: Tensor) -> Tensor:
        """Select the masked patches (M, D) from all patches (C N, D)."""
        return patches[self.index]

    def select_others(self, patches: Tensor) -> Tensor:
        """Select the unmasked patches (C N - M, D) from all (C N, D)."""
        return patches[self.others]


class PatchTargets:
    """Targets (M, K) of masked patches, computed at once or in slices.

    Args:
        rows: Shape (M, ...), what the targets are computed from.
        make: Computes the targets (m, K) of m of the rows. By default the
            rows are the targets.

    Attributes:
        sums (Tensor): Shape (K + 2, ): the sum of the targets read so far,
            the sum of their entropies in nats, and their number.
    """

    def __init__(self,
                 rows: Tensor,
                 make: Callable[[Tensor], Tensor] | None = None) -> None:
        self._rows = rows
        self._make = make
        self.sums: Tensor | None = None

    def __getitem__(self, tokens: slice) -> Tensor:
        """Return the targets (m, K) of a slice of the tokens.

        Read each token once only: every read is added to ``sums``.
        """
        rows = self._rows[tokens]
        targets = self._make(rows) if self._make else rows
        entropies = torch.special.entr(targets).sum()
        sums = torch.cat([
            targets.sum(0),
            torch.stack([entropies,
                         entropies.new_full((), len(targets))])
        ])
        self.sums = sums if self.sums is None else self.sums + sums
        return targets


def _patch_head(network: nn.ModuleDict) -> nn.Module:
    """Return the patches' own head, or the one shared with the class tokens.
    """
    return network['patch_head' if 'patch_head' in network else 'head']
