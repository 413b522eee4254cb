"""DINO, self-distillation with no labels (Caron et al. 2021, Alg. 1).

Letters: V student views, T teacher views, B images, K prototypes, D features,
C crops (all teacher views of all images), N patch tokens, R registers.
"""
from collections.abc import Mapping

import torch
from mmengine.dist import get_world_size
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.functional.losses import at_least_float32
from mmdino.models.centerings import Centering
from mmdino.models.lora import adapters_off
from mmdino.models.mean_teacher import (MeanTeacher, count_teacher_views,
                                        vectors_of_views)
from mmdino.models.monitors import SharedSum, target_monitors
from mmdino.registry import MODELS, build_module


@MODELS.register_module()
class DINO(MeanTeacher):
    """A student that learns to predict the output of its own moving average.

    ``backbone``, ``neck`` and ``head`` are the student's. ``teacher`` holds
    copies of the three and sees the global views only, which are the leading
    views of the same size as the first. :class:`TeacherEMAHook` updates the
    teacher, :class:`CenteringHook` the centre. All parts are built from
    mmdino's registry first, whatever the default scope is.

    Args:
        backbone: Config of the backbone. Its width is inferred.
        head: Config of the :class:`DINOHead`, without ``in_channels``.
        centering: Config of a :class:`Centering` without ``out_dim``.
        loss: Config of the loss, see :mod:`mmdino.models.losses`.
        predictor: Config of a :class:`Predictor`, without ``channels``,
            between the student's bottleneck and its last layer (Tab. 7). The
            teacher has none.
        images_per_chunk: Number of images that the last layer and the loss
            process at once. The student's logits (V, B, K) and their gradient
            are then never held in memory as a whole; the result is the same.
        anchor: Config of an :class:`AnchorLoss`, which keeps patch tokens near
            those of the backbone without its adapters; it needs ``lora``.
        **kwargs: Other arguments of :class:`MeanTeacher`, such as ``neck``.

    Raises:
        ValueError: If the backbone yields maps and there is no neck; if
            ``predict_attention`` is set and the backbone gives no attention;
            if ``predictor`` or ``images_per_chunk`` is given and the head or
            the loss does not support it; if ``anchor`` is given without
            ``lora`` or for a backbone without tokens.
    """

    # The parts that the teacher copies, in this order.
    PARTS = ('backbone', 'neck', 'head')

    def __init__(self,
                 backbone: dict,
                 head: dict,
                 centering: dict,
                 loss: dict,
                 predictor: dict | None = None,
                 images_per_chunk: int | None = None,
                 anchor: dict | None = None,
                 **kwargs) -> None:
        super().__init__(backbone, **kwargs)
        self.head = build_module(dict(head, in_channels=self.num_features))
        self._copy_to_teacher()
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
        self.anchor = anchor and build_module(anchor)
        self._check_anchor()

    @property
    def centerings(self) -> list[Centering]:
        """Return the centerings that a :class:`CenteringHook` updates."""
        return [self.centering]

    @property
    def prototypes(self) -> dict[str, int]:
        """Return the numbers of prototypes K, by the prefix in the log."""
        return {'': self.head.out_dim}

    def loss(
            self,
            inputs: list[Tensor],
            data_samples: list[DataSample] | None = None) -> dict[str, Tensor]:
        """Compute the loss of every student view with the teacher's other
        views.

        Args:
            inputs: V views, each (B, C, H, W), global views first.
            data_samples: Ignored, there are no labels to learn from.

        Returns:
            ``loss``, a scalar; with an ``anchor`` instead its two summands
            ``loss_cls`` and ``loss_anchor``. For the log, without gradient:
            the figures of :func:`target_monitors` and, if the loss is a
            cross-entropy, ``kl``, KL(teacher || student) in nats.

        Raises:
            ValueError: If a view is larger than the one before it.
        """
        targets = self.centering(self._teacher_logits(inputs))
        mean = at_least_float32(targets.detach()).mean((0, 1))
        shared = SharedSum([mean, *self.centering.collected()])
        if self.anchor is None:
            features, anchored = vectors_of_views(self._student(), inputs), {}
        else:
            features, anchored = self._anchored_features(inputs)
        loss = self._compare(self._outputs(features, len(inputs)), targets)
        shared.wait()
        losses = dict(
            loss_cls=loss, **anchored) if anchored else dict(loss=loss)
        return dict(losses, **self._monitors(loss, targets, mean))

    def _anchored_features(
            self, views: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the student's features (V B, D) and the anchor loss of its
        patches."""
        num_global = count_teacher_views(views)
        crops = torch.cat(views[:num_global])
        tokens = self.backbone(crops, out_type='raw')[-1]
        features = tokens[:, 0]
        if len(views) > num_global:
            local = vectors_of_views(self._student(), views[num_global:])
            features = torch.cat([features, local])
        return features, dict(loss_anchor=self._anchor_loss(tokens, crops))

    def _anchor_loss(self,
                     tokens: Tensor,
                     crops: Tensor,
                     masks: Tensor | None = None) -> Tensor:
        """Compute the anchor loss of the student's tokens.

        Args:
            tokens: All tokens of the student, (C, 1 + R + N, D).
            crops: The images they were computed from, (C, 3, H, W).
            masks: Bool (C, N); masked patches are left out.
        """
        backbone = self.teacher.backbone
        with torch.no_grad(), adapters_off(backbone):
            base = backbone(crops, masks, out_type='raw')[-1]
        start = backbone.num_extra_tokens
        return self.anchor(tokens[:, start:], base[:, start:],
                           None if masks is None else ~masks)

    def _outputs(self, features: Tensor, num_views: int) -> Tensor:
        """Compute the student's logits (V, B, K) of features (V B, D).

        With chunks, the input of its last layer (V, B, D) instead.
        """
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

    def _monitors(self, loss: Tensor, targets: Tensor,
                  mean: Tensor) -> dict[str, Tensor]:
        """Compute the figures to log from the class tokens' targets.

        Args:
            loss: Scalar, of the class tokens.
            targets: (T, B, K), of this rank.
            mean: (K, ), the sum over ranks of each rank's mean target.
        """
        monitors = target_monitors(targets, mean / get_world_size())
        if getattr(self.loss_module, 'is_cross_entropy', False):
            monitors['kl'] = loss.detach() - monitors['teacher_entropy']
        return monitors

    def _compare(self, student: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of what :meth:`_outputs` gives."""
        if self.images_per_chunk is None:
            return self.loss_module(student, targets)
        return self.loss_module.from_vectors(student,
                                             self.head.last_layer.weight,
                                             targets, self.images_per_chunk)

    def _check_anchor(self) -> None:
        """Raise an error if there is an anchor but no adapters or tokens."""
        if self.anchor is None:
            return
        if not self.lora:
            raise ValueError(
                'model.anchor compares the student with its backbone without '
                'adapters, but the model has no adapters: set '
                "model.lora=dict(type='LoRA').")
        if not hasattr(self.backbone, 'tokens'):
            raise ValueError(
                'model.anchor needs a backbone with tokens, such as '
                f'mmdino.VisionTransformer; {type(self.backbone).__name__} '
                'has none.')

    def _check_chunks(self) -> None:
        """Raise an error if the number, the head or the loss allows no chunks.
        """
        number = self.images_per_chunk
        if not isinstance(number, int) or number < 1:
            raise ValueError(
                'images_per_chunk must be an integer of at least 1, got '
                f'{number!r}')
        self._check_bottleneck('images_per_chunk')
        if getattr(self.head.last_layer, 'bias', None) is not None:
            raise ValueError(
                'images_per_chunk needs a head whose last_layer has no bias, '
                f'since the loss is given its weight alone; that of '
                f'{type(self.head).__name__} has a bias.')
        if getattr(self.loss_module, 'from_vectors', None) is None:
            raise ValueError(
                'images_per_chunk needs a loss that defines a method '
                'from_vectors, as DINOLoss does; '
                f'{type(self.loss_module).__name__} defines none. Add the '
                'method, or leave images_per_chunk out.')

    def _check_bottleneck(self, option: str) -> None:
        for name in ('project', 'last_layer'):
            if not hasattr(self.head, name):
                raise ValueError(
                    f'{option} needs a head with a bottleneck, that is, with '
                    'a method project and a layer last_layer, such as '
                    f'DINOHead; {type(self.head).__name__} has no {name}.')


def total_loss(outputs: Mapping[str, Tensor]) -> Tensor:
    """Sum the losses that ``forward(mode='loss')`` returns."""
    return sum(value for name, value in outputs.items() if 'loss' in name)
