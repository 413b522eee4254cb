"""DINOv2 (arXiv 2304.07193) and iBOT (arXiv 2111.07832): DINO with masked
patches.

V student views, T teacher views (global, C = T B crops), B images, N patches
of a global crop, M masked ones of all crops, R registers, K prototypes, D
features.
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

    The teacher sees the global crops whole, the student sees them masked and
    the local crops whole. Class tokens are compared as in DINO; at each masked
    patch the student's token is compared with the teacher's. KoLeo spreads the
    student's class tokens before the head. iBOT is the same without KoLeo,
    with a shared head.

    Args:
        backbone: Config of a backbone with tokens and a mask token, such as a
            :class:`VisionTransformer` with ``with_mask_token=True``.
        head: Config of the class tokens' head, as of :class:`DINO`.
        centering: Config of the class tokens' centering.
        loss: Config of the class tokens' loss.
        masking: Config of a :class:`Masking`, or another module that gives
            masks (C, N) of ``(C, (rows, columns))``.
        patch_centering: Config of the patches' centering, without ``out_dim``.
        patch_loss: Config of the patches' loss, see :class:`IBOTLoss`.
        patch_head: Config of the patches' head; by default they share that of
            the class tokens.
        koleo: Config of a :class:`KoLeoLoss`.
        patch_weight: Weight of the patches' loss.
        koleo_weight: Weight of KoLeo.
        center_all_patches: Let the patches' centre follow the teacher's logits
            of all patches, as in iBOT, rather than of those that are masked.
        tokens_per_chunk: Masked tokens that the patches' last layers and loss
            take at a time, the student's and, where each target depends on its
            own logits alone, the teacher's; the result is the same. See
            :class:`IBOTLoss` for the memory.
        **kwargs: Others of :class:`DINO`; no neck. A predictor is for class
            tokens only.

    Raises:
        ValueError: If a part lacks what this needs of it: tokens, masks, a
            patch head without batch normalisation (a rank may have no masked
            patch), chunks, a centre.
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
            inputs: V views, each (B, C, H, W), global first.

        Returns:
            ``loss_cls``, ``loss_patch`` and, with KoLeo and with an anchor,
            ``loss_koleo`` and ``loss_anchor``, by their weights, whose sum is
            minimised. For the log, without gradient, what :class:`DINO` gives
            of the class tokens; with ``patch_`` before their names the same of
            the masked patches of all ranks; ``masked_share`` of the global
            crops' patches; with KoLeo, ``koleo_duplicates``.
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
        """New masks for the crops (C, 3, H, W), on their device."""
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
        """Targets (T, B, K) of class tokens, and those of masked patches."""
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
        """Targets (M, K) of the teacher's masked tokens (M, D)."""
        centering = self.patch_centering
        if self.tokens_per_chunk is None or not centering.is_by_row:
            return PatchTargets(centering(head(tokens)))
        weight = head.last_layer.weight

        def make(vectors: Tensor) -> Tensor:
            with torch.autocast(vectors.device.type, enabled=False):
                return centering(vectors @ weight.t())

        return PatchTargets(head.project(tokens), make)

    def _center_others(self, head: nn.Module, tokens: Tensor) -> None:
        """Record the logits of patches without targets for the centering."""
        for chunk in tokens.split(self.tokens_per_chunk or len(tokens) or 1):
            self.patch_centering.collect(head(chunk))

    def _compare_patches(self, tokens: Tensor, targets: 'PatchTargets',
                         masked: 'MaskedPatches') -> Tensor:
        """The loss of the student's masked tokens (M, D), also in chunks."""
        head = _patch_head(self._student())
        if self.tokens_per_chunk is None:
            return self.patch_loss(head(tokens), targets[:], masked.weights)
        return self.patch_loss.from_vectors(
            head.project(tokens), head.last_layer.weight, targets,
            masked.weights, self.tokens_per_chunk)

    def _patch_monitors(self, sums: Tensor,
                        masked: 'MaskedPatches') -> dict[str, Tensor]:
        """What the log shows of the patches, from the sums of all ranks."""
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
        """All tokens (C, 1 + R + N, D) of crops (C, 3, H, W)."""
        return backbone(crops, masks, out_type='raw')[-1]

    def _patches(self, tokens: Tensor) -> Tensor:
        """Patch tokens (C N, D) of all tokens (C, 1 + R + N, D)."""
        return tokens[:, self.backbone.num_extra_tokens:].flatten(0, 1)

    def _check_parts(self) -> None:
        """Raise an error if a part lacks what DINOv2 needs of it."""
        if self.neck is not None:
            raise ValueError('DINOv2 compares tokens, which have no use for a '
                             'neck: leave model.neck out.')
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
                'which fails where a rank has none of them: set use_bn=False.')
        if self.center_all_patches and (type(self.patch_centering).collect
                                        is Centering.collect):
            raise ValueError(
                'center_all_patches=True needs a patch_centering that collects'
                f' logits; {type(self.patch_centering).__name__} does not.')
        self._check_patch_chunks(head)

    def _check_patch_chunks(self, head: nn.Module) -> None:
        number = self.tokens_per_chunk
        if number is None:
            return
        if not isinstance(number, int) or number < 1:
            raise ValueError(
                f'tokens_per_chunk must be at least 1, got {number!r}')
        if not hasattr(head, 'project') or head.last_layer.bias is not None:
            raise ValueError(
                'tokens_per_chunk needs a head in two halves, project and a '
                f'last_layer without bias, such as DINOHead; '
                f'{type(head).__name__} has not both.')
        if getattr(self.patch_loss, 'from_vectors', None) is None:
            raise ValueError(
                'tokens_per_chunk needs a patch_loss with a method '
                f'from_vectors; {type(self.patch_loss).__name__} has none.')


class MaskedPatches(NamedTuple):
    """The masked patches of a batch, with indices that need no device sync.

    Attributes:
        masks: Boolean (C, N).
        index: Places (M, ) of the masked among all C N patches.
        others: Those of the rest, (C N - M, ).
        weights: Of the masked in the loss, (M, ).
    """
    masks: Tensor
    index: Tensor
    others: Tensor
    weights: Tensor

    @classmethod
    def of(cls, masks: Tensor, device: torch.device) -> 'MaskedPatches':
        """Build from masks (C, N); on the CPU nobody waits for the device."""
        flat = masks.flatten()
        parts = (masks, flat.nonzero()[:, 0], (~flat).nonzero()[:, 0],
                 token_weights(masks))
        if device.type == 'cuda' and not masks.is_cuda:
            parts = [part.pin_memory() for part in parts]
        return cls(*(part.to(device, non_blocking=True) for part in parts))

    def select(self, patches: Tensor) -> Tensor:
        """Select the masked (M, D) of patches (C N, D)."""
        return patches[self.index]

    def select_others(self, patches: Tensor) -> Tensor:
        """Select the unmasked (C N - M, D) of patches (C N, D)."""
        return patches[self.others]


class PatchTargets:
    """Targets (M, K) of masked patches, computed at once or in slices.

    Args:
        rows: Shape (M, ...), what the targets are made of.
        make: From some of the rows to their targets (m, K). By default the
            rows are the targets.

    Attributes:
        sums (Tensor): Shape (K + 2, ): sum of the targets asked for, of their
            entropies in nats, and their number.
    """

    def __init__(self,
                 rows: Tensor,
                 make: Callable[[Tensor], Tensor] | None = None) -> None:
        self._rows = rows
        self._make = make
        self.sums: Tensor | None = None

    def __getitem__(self, tokens: slice) -> Tensor:
        """Return the targets (m, K) of a slice of the tokens.

        Each slice is to be asked for once, as ``sums`` counts it.
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
