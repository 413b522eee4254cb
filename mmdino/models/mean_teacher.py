"""A student and its moving average, the teacher, for any loss.

Letters: V views, B images, C channels, D features of an image, E features of a
patch, (h, w) the patch grid.
"""
import copy
from collections import defaultdict
from collections.abc import Mapping
from itertools import chain, groupby, pairwise

import torch
import torch.nn as nn
from mmengine.dist import all_reduce_dict
from mmengine.logging import print_log
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmdino.models.backbones.attention import require_attention
from mmdino.models.backbones.pretrained import pretrained_cfg
from mmdino.models.embedding import (embed, embedding_width, require_patches,
                                     write_features)
from mmdino.models.lora import share_base
from mmdino.registry import build_module
from mmdino.weights.keys import strip_prefix
from mmdino.weights.network import load_strictly, open_weights


class MeanTeacher(BaseSelfSupervisor):
    """Base class of :class:`DINO` and :class:`Distillation`.

    ``backbone`` and ``neck`` are the student's. ``teacher`` holds copies of
    these and of the other parts that a subclass lists in ``PARTS``.
    :class:`TeacherEMAHook` updates the teacher, which is what is validated,
    tested and exported. All parts are built from mmdino's registry first,
    whatever the default scope is.

    Args:
        backbone: Config of the backbone. Its width is inferred.
        neck: Config of the pooling of a backbone that yields maps, such as
            mmpretrain's ``GlobalAveragePooling``.
        predict_attention: Let ``predict`` also return the class token's
            attention; needs a backbone that gives it, such as
            :class:`VisionTransformer`.
        predict_patches: Let ``predict`` also return the patches' features;
            needs a network that has them.
        lora: Config of :class:`LoRA`. The backbone's own weights are then
            frozen and shared by student and teacher; adapters are trained.
        data_preprocessor: Config of the preprocessor; by default a
            :class:`MultiViewDataPreprocessor`.

    Attributes:
        num_features (int): D, the width of the features.
        base (dict, optional): With adapters, the file that the training
            started from, see :mod:`mmdino.weights.adapters`, and the
            ``names`` of its tensors.
        step_is_lost (Tensor, optional): A bool on the device: whether a loss
            or gradient of the current step is not finite on any rank.
            :class:`NonFiniteHook` sets and reads it; None without that hook.

    Raises:
        ValueError: If the backbone yields maps and there is no neck, or if
            ``predict_attention`` is set and it gives no attention.
    """

    # The parts that the teacher copies, in this order.
    PARTS = ('backbone', 'neck')

    def __init__(self,
                 backbone: dict,
                 neck: dict | None = None,
                 predict_attention: bool = False,
                 predict_patches: bool = False,
                 lora: dict | None = None,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        preprocessor = dict(
            dict(type='MultiViewDataPreprocessor'), **data_preprocessor or {})
        super().__init__(
            build_module(backbone),
            neck=neck and build_module(neck),
            data_preprocessor=build_module(preprocessor),
            init_cfg=init_cfg)
        self.lora = lora and build_module(lora)
        self.base: dict | None = None
        if self.lora:
            self.lora(self.backbone)
        mean = getattr(self.data_preprocessor, 'mean', None)
        self.num_features = embedding_width(
            self._student(), channels=3 if mean is None else len(mean))
        if predict_attention:
            require_attention(self.backbone)
        self.predict_attention = predict_attention
        self.predict_patches = predict_patches
        self._views_are_logged = False
        self.step_is_lost: Tensor | None = None

    @property
    def centerings(self) -> list[nn.Module]:
        """Return the centerings that a :class:`CenteringHook` updates."""
        return []

    @property
    def heads(self) -> list[nn.Module]:
        """Return the student's heads, each with a ``last_layer``."""
        return [
            part for name, part in self._student().items()
            if name.endswith('head')
        ]

    def forward(
            self,
            inputs: Tensor | list[Tensor],
            data_samples: list[DataSample] | None = None,
            mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list[DataSample]:
        """Run the mode ``tensor``, ``loss`` or ``predict``.

        These are :meth:`extract_feat`, :meth:`loss` and :meth:`predict`.
        """
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        return super().forward(inputs, data_samples, mode)

    @torch.no_grad()
    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Compute the teacher's features (B, D) of images (B, C, H, W)."""
        return embed(self.teacher, inputs)

    @torch.no_grad()
    def predict(self, inputs: Tensor,
                data_samples: list[DataSample]) -> list[DataSample]:
        """Write the teacher's features of images (B, C, H, W) into samples.

        Returns:
            The samples with ``feature`` (D, ), with ``predict_attention`` also
            ``attention`` (heads, h, w), and with ``predict_patches`` also
            ``patches`` (E, h, w).
        """
        write_features(
            data_samples, self.extract_feat, inputs,
            self.teacher.backbone if self.predict_attention else None)
        if self.predict_patches:
            patches = require_patches(self.teacher, inputs)
            for sample, values in zip(data_samples, patches):
                sample.set_field(values, 'patches')
        return data_samples

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """Move the teacher's parameters towards the student's.

        teacher <- momentum teacher + (1 - momentum) student. Buffers, such as
        the running statistics of BatchNorm, are not averaged: the teacher has
        its own. Nothing changes if the step is lost (``step_is_lost``), and
        parameters that both networks share never change.

        Args:
            momentum: Share of the teacher's own parameters, in [0, 1].
        """
        lost = self.step_is_lost
        pairs = [(theirs, ours)
                 for theirs, ours in zip(self.teacher.parameters(),
                                         self._student().parameters())
                 if theirs is not ours]
        if lost is None:
            torch._foreach_lerp_(*map(list, zip(*pairs)), 1 - momentum)
            return
        # One parameter at a time: a copy of all may not fit into memory.
        for theirs, ours in pairs:
            theirs.lerp_(torch.where(lost, theirs, ours), 1 - momentum)

    @torch.no_grad()
    def copy_student(self) -> None:
        """Make the teacher equal to the student, buffers included.

        The copy is in place, so that it also works for sharded parameters, of
        which each rank copies its own shard.
        """
        pairs, student = defaultdict(list), self._student()
        targets = chain(self.teacher.parameters(), self.teacher.buffers())
        sources = chain(student.parameters(), student.buffers())
        for target, source in zip(targets, sources):
            if target is source:
                continue
            pairs[target.dtype].append((target, source))
        for same_type in pairs.values():
            torch._foreach_copy_(*map(list, zip(*same_type)))

    def init_weights(self) -> None:
        """Initialise the student and make the teacher equal to it.

        With an ``init_cfg`` of type ``Pretrained``, load instead all weights
        of a checkpoint, those of the teacher and the centres included.

        Raises:
            CheckpointError: If its weights do not fit.
        """
        cfg = pretrained_cfg(self.init_cfg)
        if cfg:
            self._share_base()
            self._load(cfg)
            return
        super().init_weights()
        self._share_base()
        self.copy_student()

    def _load(self, cfg: dict) -> None:
        path, prefix = cfg.get('checkpoint'), cfg.get('prefix') or ''
        state = strip_prefix(open_weights(path).state, prefix)
        load_strictly(self, state, f'{prefix}* of {path} (model.init_cfg)')
        self._is_init = True

    def train(self, mode: bool = True) -> 'MeanTeacher':
        """Switch between training and evaluation mode.

        The teacher has no stochastic depth and no dropout. Of its layers only
        BatchNorm is ever in train mode, and only where the student's is, which
        depends on ``norm_eval`` and ``frozen_stages``. With adapters, the
        backbone's BatchNorm layers always stay in eval mode and keep the
        statistics of the frozen network.
        """
        super().train(mode)
        if self.lora:
            for norm in _batch_norms(self.backbone):
                norm.eval()
        self.teacher.eval()
        for norm, students in zip(
                _batch_norms(self.teacher), _batch_norms(self._student())):
            norm.train(students.training)
        return self

    def parse_losses(self, losses: dict) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the losses and average the figures to log over all ranks."""
        loss, log_vars = super().parse_losses(losses)
        log_vars = {name: v.detach().clone() for name, v in log_vars.items()}
        all_reduce_dict(log_vars, op='mean')
        if self.step_is_lost is not None:
            self.step_is_lost = (
                self.step_is_lost | ~log_vars['loss'].isfinite())
        return loss, log_vars

    def _copy_to_teacher(self) -> None:
        """Create the teacher as a copy, once all parts of the student exist.
        """
        self.teacher = copy.deepcopy(self._student()).requires_grad_(False)
        self._share_base()
        self.register_load_state_dict_post_hook(_share_loaded)

    def _share_base(self) -> None:
        """Let both networks share one frozen base, if there are adapters."""
        if self.lora:
            share_base(self.backbone, self.teacher.backbone)

    def _count_teacher_views(self, views: list[Tensor]) -> int:
        """Count the leading views as large as the first; log it once."""
        num_views = count_teacher_views(views)
        if not self._views_are_logged:
            self._views_are_logged = True
            print_log(
                f'teacher: {num_views} views of {_size(views[0])} px, '
                f'student: {len(views)}', 'current')
        return num_views

    def _student(self) -> nn.ModuleDict:
        """Return the parts of the student that exist."""
        parts = {name: getattr(self, name, None) for name in self.PARTS}
        return nn.ModuleDict({k: v for k, v in parts.items() if v is not None})


def _share_loaded(model: MeanTeacher, keys: object) -> None:
    """Share the frozen weights again, as loading may have replaced tensors."""
    model._share_base()


def count_teacher_views(views: list[Tensor]) -> int:
    """Count the leading views (B, C, H, W) that are as large as the first.

    Raises:
        ValueError: If a view is larger than the one before it: the teacher
            would see local views.
    """
    for i, (before, view) in enumerate(pairwise(views), 1):
        if view.shape[-2:].numel() > before.shape[-2:].numel():
            raise ValueError(
                f'View {i + 1} of {_size(view)} px is larger than view {i} of '
                f'{_size(before)} px, but the global views, which the teacher '
                'sees, come first. MultiCrop sorts the views by their names: '
                'name the larger ones so that they come first, such as '
                "'global', before 'local'.")
    return next(
        (i for i, view in enumerate(views) if view.shape != views[0].shape),
        len(views))


def _size(view: Tensor) -> str:
    height, width = view.shape[-2:]
    return f'{height}' if height == width else f'{height} x {width}'


def _batch_norms(network: nn.Module) -> list[nn.Module]:
    return [m for m in network.modules() if isinstance(m, _BatchNorm)]


def vectors_of_views(network: Mapping[str, nn.Module],
                     views: list[Tensor]) -> Tensor:
    """Compute features (V B, D) of V views, with one pass for each size."""
    by_size = [
        torch.cat(list(group))
        for _, group in groupby(views, key=lambda view: view.shape)
    ]
    return torch.cat([embed(network, images) for images in by_size])
