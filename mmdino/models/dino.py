"""DINO, self-distillation with no labels (Caron et al. 2021, Alg. 1).

V student views, T teacher views, B images, K prototypes, D features.
"""
import copy
from itertools import groupby
from typing import Dict, List, Mapping, Optional, Tuple, Union

import torch
import torch.nn as nn
from mmengine.dist import all_reduce_dict
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmdino.models.embedding import embed, embedding_width
from mmdino.models.monitors import target_monitors
from mmdino.registry import MODELS


@MODELS.register_module()
class DINO(BaseSelfSupervisor):
    """A student that learns to predict its own moving average.

    ``backbone``, ``neck`` and ``head`` are the student's; ``teacher`` holds
    the same three. The teacher sees the global views only: the leading views
    that have the size of the first. Hooks move the teacher
    (:class:`TeacherEMAHook`) and the centre (:class:`CenteringHook`).

    Args:
        backbone (dict): Config of the backbone. Its width is inferred.
        head (dict): Config of the :class:`DINOHead`, without ``in_channels``.
        centering (dict): Config of what turns the teacher's logits into
            targets, without ``out_dim``.
        loss (dict): Config of the loss.
        neck (dict, optional): Config of the pooling of a backbone that yields
            maps, such as mmpretrain's ``GlobalAveragePooling``.
        predict_attention (bool): Let ``predict`` also give the class token's
            attention; needs a :class:`VisionTransformer`.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If the backbone yields maps and there is no neck, or has
            no attention to predict.
    """

    def __init__(self,
                 backbone: dict,
                 head: dict,
                 centering: dict,
                 loss: dict,
                 neck: Optional[dict] = None,
                 predict_attention: bool = False,
                 data_preprocessor: Optional[dict] = None,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(
            backbone,
            neck=neck,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg)
        width = embedding_width(self._parts())
        self.head = MODELS.build(dict(head, in_channels=width))
        self.teacher = self._build_teacher()
        self.centering = MODELS.build(
            dict(centering, out_dim=self.head.out_dim))
        self.loss_module = MODELS.build(loss)
        if predict_attention and not hasattr(self.backbone, 'class_attention'):
            raise ValueError(
                'predict_attention=True needs a backbone with the method '
                'class_attention, such as mmdino.VisionTransformer; '
                f'{type(self.backbone).__name__} has none.')
        self.predict_attention = predict_attention

    def forward(
        self,
        inputs: Union[Tensor, List[Tensor]],
        data_samples: Optional[List[DataSample]] = None,
        mode: str = 'tensor'
    ) -> Union[Tensor, Dict[str, Tensor], List[DataSample]]:
        """Run the mode ``tensor``, ``loss`` or ``predict``.

        See :meth:`extract_feat`, :meth:`loss` and :meth:`predict`.
        """
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        return super().forward(inputs, data_samples, mode)

    def loss(
            self,
            inputs: List[Tensor],
            data_samples: Optional[List[DataSample]] = None
    ) -> Dict[str, Tensor]:
        """Compare every student view with the teacher's other views.

        Args:
            inputs (list[Tensor]): V views, each (B, C, H, W), global first.

        Returns:
            dict[str, Tensor]: ``loss`` and, without gradient,
            ``teacher_entropy``, ``kl`` and :func:`target_monitors`.
        """
        student = self._student_logits(inputs)
        targets = self.centering(self._teacher_logits(inputs))
        losses = self.loss_module(student, targets)
        losses.update(target_monitors(targets))
        return losses

    @torch.no_grad()
    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Give the teacher's features (B, D) of images (B, C, H, W)."""
        return embed(self.teacher, inputs)

    @torch.no_grad()
    def predict(self, inputs: Tensor,
                data_samples: List[DataSample]) -> List[DataSample]:
        """Write the teacher's features into the data samples.

        Args:
            inputs (Tensor): Images, shape (B, C, H, W).
            data_samples (list[DataSample]): One an image.

        Returns:
            list[DataSample]: The same, with ``feature`` (D, ) and, with
            ``predict_attention``, ``attention`` (heads, h, w).
        """
        outputs = {}
        if self.predict_attention:
            with self.teacher.backbone.recorded_attention() as maps:
                outputs['feature'] = self.extract_feat(inputs)
            outputs['attention'] = maps[0]
        else:
            outputs['feature'] = self.extract_feat(inputs)
        for name, values in outputs.items():
            for sample, value in zip(data_samples, values):
                sample.set_field(value, name)
        return data_samples

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """Move the teacher's parameters towards the student's.

        teacher <- momentum teacher + (1 - momentum) student. Buffers, such
        as a BatchNorm's running statistics, stay the teacher's own.
        """
        teacher = list(self.teacher.parameters())
        student = [
            p for name in self.teacher
            for p in getattr(self, name).parameters()
        ]
        torch._foreach_lerp_(teacher, student, 1 - momentum)

    def copy_student(self) -> None:
        """Make the teacher equal to the student, buffers included."""
        for name, module in self.teacher.items():
            module.load_state_dict(getattr(self, name).state_dict())

    def init_weights(self) -> None:
        """Initialise the student and make the teacher equal to it."""
        super().init_weights()
        self.copy_student()

    def train(self, mode: bool = True) -> 'DINO':
        """Switch the mode.

        The teacher has no stochastic depth or dropout: of its layers only
        BatchNorm is ever in train mode.
        """
        super().train(mode)
        self.teacher.eval()
        for module in self.teacher.modules():
            if isinstance(module, _BatchNorm):
                module.train(mode)
        return self

    def parse_losses(
            self, losses: Dict[str,
                               Tensor]) -> Tuple[Tensor, Dict[str, Tensor]]:
        """Sum the losses; the figures to log are means over all ranks."""
        loss, log_vars = super().parse_losses(losses)
        log_vars = {name: v.detach().clone() for name, v in log_vars.items()}
        all_reduce_dict(log_vars, op='mean')
        return loss, log_vars

    def _student_logits(self, views: List[Tensor]) -> Tensor:
        """Logits (V, B, K) of all views."""
        return _logits(self._parts(), views)

    @torch.no_grad()
    def _teacher_logits(self, views: List[Tensor]) -> Tensor:
        """Logits (T, B, K) of the leading views as large as the first."""
        num_views = next(
            (i for i, v in enumerate(views) if v.shape != views[0].shape),
            len(views))
        return _logits(self.teacher, views[:num_views])

    def _build_teacher(self) -> nn.ModuleDict:
        teacher = nn.ModuleDict(copy.deepcopy(self._parts()))
        return teacher.requires_grad_(False)

    def _parts(self) -> Dict[str, nn.Module]:
        parts = dict(backbone=self.backbone, neck=self.neck, head=self.head)
        return {name: part for name, part in parts.items() if part is not None}


def _logits(network: Mapping[str, nn.Module], views: List[Tensor]) -> Tensor:
    """Logits (V, B, K): one backbone pass a size, one head pass over all."""
    vectors = vectors_of_views(network, views)
    return network['head'](vectors).unflatten(0, (len(views), -1))


def vectors_of_views(network: Mapping[str, nn.Module],
                     views: List[Tensor]) -> Tensor:
    """Features (V B, D) of V views, one backbone pass a size."""
    by_size = [
        torch.cat(list(group))
        for _, group in groupby(views, key=lambda view: view.shape)
    ]
    return torch.cat([embed(network, images) for images in by_size])
