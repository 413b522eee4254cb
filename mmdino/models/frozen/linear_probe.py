"""Linear classification of frozen features (arXiv 2104.14294, table 2).

B images, D features, C classes, R top classes.
"""
from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.models.embedding import embedding_width
from mmdino.models.frozen.frozen_teacher import FrozenTeacher
from mmdino.registry import MODELS, build_module
from mmdino.weights.keys import strip_prefix
from mmdino.weights.network import load_strictly, open_weights


@MODELS.register_module()
class LinearProbe(BaseModel):
    """Linear classifiers on one frozen backbone, one for a learning rate.

    Each head learns as if it were alone while the backbone runs once for all.
    :class:`LinearProbeConstructor` gives each its learning rate, and
    :class:`LinearProbeAccuracy` names the best. The network's weights are
    saved with the heads, so that a probe is tested by its own checkpoint.

    Args:
        num_classes: C.
        learning_rates: One head each, at the base batch of ``auto_scale_lr``.
        features: Config of what the heads see; by default what the authors
            took for such a network (:func:`official_features`).
        checkpoint: Of the pretraining to learn on, or of a probe to test.
        backbone: Config of the backbone; by default the checkpoint tells.
        neck: Config of the pooling of a backbone that yields maps.
        data_preprocessor: By default the checkpoint's.

    Raises:
        CheckpointError: If the checkpoint does not fit.
        ValueError: If a learning rate is repeated or not positive, there is
            none, or ``num_classes`` is not positive; in training, if there is
            no checkpoint or a label is not below C.
    """

    def __init__(self,
                 num_classes: int,
                 learning_rates: Sequence[float],
                 features: dict | None = None,
                 checkpoint: str | None = None,
                 backbone: dict | None = None,
                 neck: dict | None = None,
                 data_preprocessor: dict | None = None) -> None:
        if num_classes < 1:
            raise ValueError(
                f'num_classes must be positive, got {num_classes}.')
        rates = list(learning_rates)
        if not rates or min(rates) <= 0 or len(set(rates)) < len(rates):
            raise ValueError('learning_rates must be one or more different '
                             f'positive numbers, got {rates}.')
        network = FrozenTeacher(checkpoint, backbone, neck, data_preprocessor,
                                features or dict(type='PooledFeatures'))
        if features is None:
            network.feature_rule = build_module(
                official_features(network.backbone))
        super().__init__(data_preprocessor=network.data_preprocessor)
        self.network = network
        self.network_cfg = network.network_cfg
        self.num_classes = num_classes
        self.learning_rates = tuple(learning_rates)
        width = embedding_width(network.parts, network.feature_rule,
                                len(network.preprocessing['mean']))
        self.heads = nn.ModuleList(
            nn.Linear(width, num_classes) for _ in learning_rates)
        heads = strip_prefix(open_weights(checkpoint).state,
                             'heads.') if checkpoint else None
        if heads:
            load_strictly(self.heads, heads,
                          f'The linear classifiers of {checkpoint}')

    def init_weights(self) -> None:
        """Initialise the heads as the authors do (normal .01)."""
        if not self.network.has_weights:
            raise ValueError(
                'A linear probe has no checkpoint to start from. Give the '
                'file of the pretraining: --checkpoint FILE_OR_NAME, or '
                'model.checkpoint=... in a config.')
        super().init_weights()
        for head in self.heads:
            nn.init.normal_(head.weight, std=.01)
            nn.init.zeros_(head.bias)

    def forward(
            self,
            inputs: Tensor,
            data_samples: list[DataSample] | None = None,
            mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list[DataSample]:
        """Run one mode on images (B, C, H, W).

        Returns:
            In the mode 'tensor' the frozen features (B, D); in 'loss', where
            the samples need ``gt_label``, the loss of each head, named by its
            learning rate; in 'predict' the samples with ``top_classes``, a
            dict from the learning rate to (R,) classes, best first.
        """
        features = self.network.features(inputs)
        if mode == 'loss':
            return self._loss(features, data_samples)
        if mode == 'predict':
            return self._predict(features, data_samples)
        return features

    def _loss(self, features: Tensor,
              data_samples: list[DataSample]) -> dict[str, Tensor]:
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
                 data_samples: list[DataSample]) -> list[DataSample]:
        top = {
            lr: head(features).topk(min(5, self.num_classes)).indices
            for lr, head in zip(self.learning_rates, self.heads)
        }
        for sample, *classes in zip(data_samples, *top.values()):
            sample.set_field(dict(zip(top, classes)), 'top_classes')
        return data_samples


def official_features(backbone: nn.Module) -> dict:
    """What the authors' linear classifiers see (appendix F.2).

    The class tokens of the last 4 blocks of a ViT-S, of all where there are
    fewer; of a ViT of width 768 or more the class token and the mean patch
    token; the pooled output of other networks.
    """
    if not hasattr(backbone, 'last_blocks'):
        return dict(type='PooledFeatures')
    if backbone.embed_dims >= 768:
        return dict(type='ClassAndPatchFeatures')
    return dict(type='LastBlocks', n=min(4, backbone.num_layers))
