"""Linear classification of frozen features (arXiv 2104.14294, table 2).

B images, D features, C classes, R top classes.
"""
from typing import Dict, List, Optional, Sequence, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.models.backbones.pretrained import load_pretrained
from mmdino.models.embedding import embedding_width
from mmdino.registry import MODELS


@MODELS.register_module()
class LinearProbe(BaseModel):
    """Linear classifiers on one frozen backbone, one for a learning rate.

    The losses are independent, hence each head learns as if it were alone
    while the backbone runs once for all. Pair it with
    :class:`LinearProbeConstructor`, which gives each head its learning rate,
    and :class:`LinearProbeAccuracy`, which names the best.

    The backbone is in eval mode always: no drop path, and BatchNorm keeps
    its statistics. Its weights are the teacher's; they are saved with the
    heads, so that a probe is tested without the checkpoint.

    Args:
        backbone: Config of the backbone.
        features: Config of what the heads see: :class:`LastBlocks`,
            :class:`ClassAndPatchFeatures` or :class:`PooledFeatures`.
        num_classes: C.
        learning_rates: One head each, at the base batch of ``auto_scale_lr``.
        checkpoint: Of the pretraining; training needs it, testing does not.
        neck: Config of the pooling of a backbone that yields maps.
        data_preprocessor: As for any model.

    Raises:
        ValueError: If a learning rate is repeated or not positive, there is
            none, or ``num_classes`` is not positive; in training, if the
            checkpoint does not fit or a label is not below C.
    """

    def __init__(self,
                 backbone: dict,
                 features: dict,
                 num_classes: int,
                 learning_rates: Sequence[float],
                 checkpoint: Optional[str] = None,
                 neck: Optional[dict] = None,
                 data_preprocessor: Optional[dict] = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        _check_settings(num_classes, learning_rates)
        parts = dict(backbone=backbone, neck=neck)
        self.network = nn.ModuleDict({
            k: MODELS.build(cfg)
            for k, cfg in parts.items() if cfg
        })
        self.network.requires_grad_(False)
        self.features = MODELS.build(features)
        self.checkpoint = checkpoint
        self.num_classes = num_classes
        self.learning_rates = tuple(learning_rates)
        width = embedding_width(self.network, self.features)
        self.heads = nn.ModuleList(
            nn.Linear(width, num_classes) for _ in learning_rates)

    def init_weights(self) -> None:
        """Load the teacher strictly; heads as the authors' (normal .01)."""
        super().init_weights()
        for name, module in self.network.items():
            if module.state_dict():
                load_pretrained(module, self.checkpoint, f'teacher.{name}.')
        for head in self.heads:
            nn.init.normal_(head.weight, std=.01)
            nn.init.zeros_(head.bias)

    def train(self, mode: bool = True) -> 'LinearProbe':
        """Switch the mode of the heads; the network stays in eval mode."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(
        self,
        inputs: Tensor,
        data_samples: Optional[List[DataSample]] = None,
        mode: str = 'tensor'
    ) -> Union[Tensor, Dict[str, Tensor], List[DataSample]]:
        """Run one mode.

        Args:
            inputs: Images (B, C, H, W).
            data_samples: One an image, with ``gt_label`` in the mode 'loss'.
            mode: 'tensor' for features, 'loss' or 'predict'.

        Returns:
            The frozen features (B, D); the loss of each head, named by its
            learning rate; or the samples with ``top_classes``, a dict from
            the learning rate to (R,) classes, best first.
        """
        with torch.no_grad():
            features = self.features(self.network, inputs)
        if mode == 'loss':
            return self._loss(features, data_samples)
        if mode == 'predict':
            return self._predict(features, data_samples)
        return features

    def _loss(self, features: Tensor,
              data_samples: List[DataSample]) -> Dict[str, Tensor]:
        labels = torch.cat([sample.gt_label for sample in data_samples])
        low, high = torch.stack(labels.aminmax()).tolist()
        if not 0 <= low <= high < self.num_classes:
            raise ValueError(
                f'The labels of a batch reach from {low} to {high}, but the '
                f'probe has {self.num_classes} classes: set '
                'model.num_classes.')
        labels = labels.to(features.device)
        return {
            f'loss_lr{lr:g}': F.cross_entropy(head(features), labels)
            for lr, head in zip(self.learning_rates, self.heads)
        }

    def _predict(self, features: Tensor,
                 data_samples: List[DataSample]) -> List[DataSample]:
        top = {
            lr: head(features).topk(min(5, self.num_classes)).indices
            for lr, head in zip(self.learning_rates, self.heads)
        }
        for i, sample in enumerate(data_samples):
            sample.set_field({
                lr: classes[i]
                for lr, classes in top.items()
            }, 'top_classes')
        return data_samples


def _check_settings(num_classes: int, learning_rates: Sequence[float]) -> None:
    if num_classes < 1:
        raise ValueError(f'num_classes must be positive, got {num_classes}.')
    rates = list(learning_rates)
    if not rates or min(rates) <= 0 or len(set(rates)) < len(rates):
        raise ValueError('learning_rates must be one or more different '
                         f'positive numbers, got {rates}.')
