"""DINO, self-distillation with no labels (Caron et al. 2021, Alg. 1).

V student views, T teacher views, B images, K prototypes, D features.
"""
import copy
from collections import defaultdict
from collections.abc import Mapping
from itertools import chain, groupby, pairwise

import torch
import torch.nn as nn
from mmengine.dist import all_reduce_dict, get_world_size
from mmengine.logging import print_log
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmdino.functional.losses import at_least_float32
from mmdino.models.backbones.attention import require_attention
from mmdino.models.centerings import Centering
from mmdino.models.embedding import embed, embedding_width, write_features
from mmdino.models.monitors import target_monitors
from mmdino.models.shared_sum import SharedSum
from mmdino.registry import MODELS, build_module


@MODELS.register_module()
class DINO(BaseSelfSupervisor):
    """A student that learns to predict its own moving average.

    ``backbone``, ``neck`` and ``head`` are the student's; ``teacher`` holds
    the same three and sees the global views only: the leading views that have
    the size of the first. Hooks move it (:class:`TeacherEMAHook`) and the
    centre (:class:`CenteringHook`). All parts are looked for in mmdino's
    registry first, in any default scope.

    Args:
        backbone (dict): Config of the backbone. Its width is inferred.
        head (dict): Config of the :class:`DINOHead`, without ``in_channels``.
        centering (dict): Config of a :class:`Centering` without ``out_dim``.
        loss (dict): Config of the loss, see :mod:`mmdino.models.losses`.
        neck (dict, optional): Config of the pooling of a backbone that yields
            maps, such as mmpretrain's ``GlobalAveragePooling``.
        predictor (dict, optional): Config of a :class:`Predictor`, without
            ``channels``, between the student's bottleneck and its prototypes
            (Tab. 7). The teacher has none.
        images_per_chunk (int, optional): Images that the last layer and the
            loss take at a time: the student's logits (V, B, K) and their
            gradient then never exist at once, the result is the same.
        predict_attention (bool): Let ``predict`` also give the class token's
            attention; needs a :class:`VisionTransformer`.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Attributes:
        num_features (int): D, the width of the head's input.
        step_is_lost (Tensor, optional): Whether a loss or gradient of the
            step under way is not finite on any rank, a bool on the device.
            :class:`NonFiniteHook` watches by it; None where nobody does.

    Raises:
        ValueError: If the backbone yields maps and there is no neck, or has
            no attention to predict; if the head or the loss has not what a
            predictor or chunks need.
    """

    # What the teacher has a copy of, in this order.
    PARTS = ('backbone', 'neck', 'head')

    def __init__(self,
                 backbone: dict,
                 head: dict,
                 centering: dict,
                 loss: dict,
                 neck: dict | None = None,
                 predictor: dict | None = None,
                 images_per_chunk: int | None = None,
                 predict_attention: bool = False,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        preprocessor = dict(
            dict(type='MultiViewDataPreprocessor'), **data_preprocessor or {})
        super().__init__(
            build_module(backbone),
            neck=neck and build_module(neck),
            data_preprocessor=build_module(preprocessor),
            init_cfg=init_cfg)
        mean = getattr(self.data_preprocessor, 'mean', None)
        self.num_features = embedding_width(
            self._student(), channels=3 if mean is None else len(mean))
        self.head = build_module(dict(head, in_channels=self.num_features))
        self.teacher = copy.deepcopy(self._student()).requires_grad_(False)
        self.centering = build_module(
            dict(centering, out_dim=self.head.out_dim))
        self.loss_module = build_module(loss)
        self.predictor = None
        if predictor:
            self._check_bottleneck('predictor')
            self.predictor = build_module(
                dict(predictor, channels=self.head.last_layer.in_features))
        self.images_per_chunk = images_per_chunk
        if images_per_chunk is not None:
            self._check_chunks()
        if predict_attention:
            require_attention(self.backbone)
        self.predict_attention = predict_attention
        self._views_are_logged = False
        self.step_is_lost: Tensor | None = None

    @property
    def centerings(self) -> list[Centering]:
        """Those that a :class:`CenteringHook` moves."""
        return [self.centering]

    @property
    def heads(self) -> list[nn.Module]:
        """The student's, each with a ``last_layer``."""
        return [
            part for name, part in self._student().items()
            if name.endswith('head')
        ]

    @property
    def prototypes(self) -> dict[str, int]:
        """K of all targets that are monitored, by the prefix in the log."""
        return {'': self.head.out_dim}

    def forward(
            self,
            inputs: Tensor | list[Tensor],
            data_samples: list[DataSample] | None = None,
            mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list[DataSample]:
        """Run the mode ``tensor``, ``loss`` or ``predict``.

        See :meth:`extract_feat`, :meth:`loss` and :meth:`predict`.
        """
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        return super().forward(inputs, data_samples, mode)

    def loss(
            self,
            inputs: list[Tensor],
            data_samples: list[DataSample] | None = None) -> dict[str, Tensor]:
        """Compare every student view with the teacher's other views.

        Args:
            inputs (list[Tensor]): V views, each (B, C, H, W), global first.

        Returns:
            dict[str, Tensor]: ``loss`` and, for the log, without gradient,
            :func:`target_monitors` and, where the loss is their
            cross-entropy, ``kl``: KL(teacher || student) in nats.

        Raises:
            ValueError: If a view is larger than one before it.
        """
        targets = self.centering(self._teacher_logits(inputs))
        mean = at_least_float32(targets.detach()).mean((0, 1))
        shared = SharedSum([mean, *self.centering.collected()])
        features = vectors_of_views(self._student(), inputs)
        loss = self._compare(self._outputs(features, len(inputs)), targets)
        shared.wait()
        return dict(loss=loss, **self._monitors(loss, targets, mean))

    @torch.no_grad()
    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Give the teacher's features (B, D) of images (B, C, H, W)."""
        return embed(self.teacher, inputs)

    @torch.no_grad()
    def predict(self, inputs: Tensor,
                data_samples: list[DataSample]) -> list[DataSample]:
        """Write the teacher's features of images (B, C, H, W) into samples.

        Returns:
            list[DataSample]: The samples with ``feature`` (D, ) and, with
            ``predict_attention``, ``attention`` (heads, h, w).
        """
        return write_features(
            data_samples, self.extract_feat, inputs,
            self.teacher.backbone if self.predict_attention else None)

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """Move the teacher's parameters towards the student's.

        teacher <- momentum teacher + (1 - momentum) student. Buffers, such
        as a BatchNorm's running statistics, stay the teacher's own. It stays
        where the step is lost.
        """
        teacher = [*self.teacher.parameters()]
        student = self._student().parameters()
        if self.step_is_lost is not None:
            # One at a time: a copy of the network may not fit.
            for theirs, ours in zip(teacher, student):
                ours = torch.where(self.step_is_lost, theirs, ours)
                theirs.lerp_(ours, 1 - momentum)
            return
        torch._foreach_lerp_(teacher, [*student], 1 - momentum)

    @torch.no_grad()
    def copy_student(self) -> None:
        """Make the teacher equal to the student, buffers included.

        In place: a rank copies its pieces of weights that are spread.
        """
        pairs, student = defaultdict(list), self._student()
        targets = chain(self.teacher.parameters(), self.teacher.buffers())
        sources = chain(student.parameters(), student.buffers())
        for target, source in zip(targets, sources):
            pairs[target.dtype].append((target, source))
        for same_type in pairs.values():
            torch._foreach_copy_(*map(list, zip(*same_type)))

    def init_weights(self) -> None:
        """Initialise the student and make the teacher equal to it."""
        super().init_weights()
        self.copy_student()

    def train(self, mode: bool = True) -> 'DINO':
        """Switch the mode.

        The teacher has no stochastic depth or dropout: of its layers only
        BatchNorm is ever in train mode, and only where the student's is, too
        (``norm_eval``, ``frozen_stages``).
        """
        super().train(mode)
        self.teacher.eval()
        for norm, students in zip(
                _batch_norms(self.teacher), _batch_norms(self._student())):
            norm.train(students.training)
        return self

    def parse_losses(self, losses: dict) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the losses; the figures to log are means over all ranks."""
        loss, log_vars = super().parse_losses(losses)
        log_vars = {name: v.detach().clone() for name, v in log_vars.items()}
        all_reduce_dict(log_vars, op='mean')
        if self.step_is_lost is not None:
            self.step_is_lost = (
                self.step_is_lost | ~log_vars['loss'].isfinite())
        return loss, log_vars

    def _outputs(self, features: Tensor, num_views: int) -> Tensor:
        """The student's logits (V, B, K) of features (V B, D); with chunks,
        what the last layer turns into them, (V, B, D)."""
        if self.predictor is None and self.images_per_chunk is None:
            return self.head(features).unflatten(0, (num_views, -1))
        with torch.autocast(features.device.type, enabled=False):
            outputs = self.head.project(features)
            if self.predictor is not None:
                outputs = self.predictor(outputs)
            if self.images_per_chunk is None:
                outputs = self.head.last_layer(outputs)
        return outputs.unflatten(0, (num_views, -1))

    @torch.no_grad()
    def _teacher_logits(self, views: list[Tensor]) -> Tensor:
        """Logits (T, B, K) of the teacher's views."""
        num_views = self._count_teacher_views(views)
        features = vectors_of_views(self.teacher, views[:num_views])
        return self.teacher.head(features).unflatten(0, (num_views, -1))

    def _count_teacher_views(self, views: list[Tensor]) -> int:
        """The leading views as large as the first; says so once."""
        num_views = count_teacher_views(views)
        if not self._views_are_logged:
            self._views_are_logged = True
            print_log(
                f'teacher: {num_views} views of {_size(views[0])} px, '
                f'student: {len(views)}', 'current')
        return num_views

    def _monitors(self, loss: Tensor, targets: Tensor,
                  mean: Tensor) -> dict[str, Tensor]:
        """What the log shows of the class tokens' targets (T, B, K).

        ``mean`` (K, ) is the sum over ranks of their means.
        """
        monitors = target_monitors(targets, mean / get_world_size())
        if getattr(self.loss_module, 'is_cross_entropy', False):
            monitors['kl'] = loss.detach() - monitors['teacher_entropy']
        return monitors

    def _compare(self, student: Tensor, targets: Tensor) -> Tensor:
        """The loss, of the student's logits or in chunks."""
        if self.images_per_chunk is None:
            return self.loss_module(student, targets)
        return self.loss_module.from_vectors(student,
                                             self.head.last_layer.weight,
                                             targets, self.images_per_chunk)

    def _student(self) -> nn.ModuleDict:
        """The student's parts, as far as they exist."""
        parts = {name: getattr(self, name, None) for name in self.PARTS}
        return nn.ModuleDict({k: v for k, v in parts.items() if v is not None})

    def _check_chunks(self) -> None:
        """Refuse a number, a head or a loss that makes no chunks."""
        number = self.images_per_chunk
        if not isinstance(number, int) or number < 1:
            raise ValueError(
                f'images_per_chunk must be at least 1, got {number!r}')
        self._check_bottleneck('images_per_chunk')
        if getattr(self.head.last_layer, 'bias', None) is not None:
            raise ValueError(
                'images_per_chunk needs a last_layer without bias: the loss '
                f"gets its weight alone. {type(self.head).__name__}'s has one."
            )
        if getattr(self.loss_module, 'from_vectors', None) is None:
            raise ValueError(
                'images_per_chunk needs a loss with a method from_vectors of '
                f'its own, as DINOLoss has; {type(self.loss_module).__name__} '
                'has none. Write it, or leave images_per_chunk out.')

    def _check_bottleneck(self, option: str) -> None:
        for name in ('project', 'last_layer'):
            if not hasattr(self.head, name):
                raise ValueError(
                    f'{option} needs a head with a bottleneck, in two halves '
                    f'project and last_layer, such as DINOHead; '
                    f'{type(self.head).__name__} has no {name}.')


def total_loss(outputs: Mapping[str, Tensor]) -> Tensor:
    """What of the outputs of ``forward(mode='loss')`` is minimised."""
    return sum(value for name, value in outputs.items() if 'loss' in name)


def count_teacher_views(views: list[Tensor]) -> int:
    """How many of the leading views (B, C, H, W) have the size of the first.

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
    """Features (V B, D) of V views, one backbone pass a size."""
    by_size = [
        torch.cat(list(group))
        for _, group in groupby(views, key=lambda view: view.shape)
    ]
    return torch.cat([embed(network, images) for images in by_size])
