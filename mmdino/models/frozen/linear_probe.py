"""Linear classification of frozen features (arXiv 2104.14294, table 2).

B images, D features, C classes, R top classes, E heads.
"""
from collections.abc import Iterator, Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.models.embedding import embedding_width
from mmdino.models.frozen.features import Choice, require_blocks
from mmdino.models.frozen.frozen_teacher import FrozenTeacher
from mmdino.registry import MODELS, build_module
from mmdino.weights.keys import strip_prefix
from mmdino.weights.network import load_strictly, open_weights

Key = float | tuple[Choice, float]


@MODELS.register_module()
class LinearProbe(BaseModel):
    """Linear classifiers on a frozen backbone, one for each learning rate.

    With features that leave a choice (:class:`.BlocksAndMean`), one for each
    choice and learning rate.

    Each head learns as if it were alone while the backbone runs once for all.
    :class:`LinearProbeConstructor` gives each its learning rate, and
    :class:`LinearProbeAccuracy` names the best. The network's weights are
    saved with the heads, so that a probe is tested by its own checkpoint.

    Args:
        num_classes: C.
        learning_rates: One head each, at the base batch of ``auto_scale_lr``.
        features: Config of what the heads see; by default what the authors
            took for such a network (:func:`official_features`).
            :class:`.BlocksAndMean` gives them a choice, as DINOv2's have.
        checkpoint: Of the pretraining to learn on, or of a probe to test.
        backbone: Config of the backbone; by default the checkpoint tells.
        neck: Config of the pooling of a backbone that yields maps.
        data_preprocessor: By default the checkpoint's.

    Attributes:
        keys (list): Of the E heads: the learning rate, or a
            :class:`.Choice` and the learning rate.

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
        width = embedding_width(network.parts, network.feature_rule,
                                len(network.preprocessing['mean']))
        rule = network.feature_rule
        if hasattr(rule, 'choices'):
            choices = rule.choices(width)
            inputs = {
                (choice, lr): seen
                for choice, seen in choices.items()
                for lr in rates
            }
        else:
            inputs = dict.fromkeys(rates, slice(0, width))
        self.keys = list(inputs)
        self._seen = list(inputs.values())
        self.heads = nn.ModuleList(
            nn.Linear(seen.stop - seen.start, num_classes)
            for seen in self._seen)
        heads = strip_prefix(open_weights(checkpoint).state,
                             'heads.') if checkpoint else None
        if heads:
            load_strictly(self.heads, heads,
                          f'The linear classifiers of {checkpoint}')

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """Return the learning rate of each head."""
        return tuple(split_key(key)[1] for key in self.keys)

    def init_weights(self) -> None:
        """Initialise the heads as the authors do: normal, standard deviation
        .01."""
        if not self.network.has_weights:
            raise ValueError(
                'A linear probe has no checkpoint to start from. Give the '
                'file of the pretraining: --checkpoint FILE_OR_NAME, or '
                'model.checkpoint=FILE_OR_NAME in a config.')
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
        """Run a mode on images (B, C, H, W): ``tensor``, ``loss`` or
        ``predict``.

        Returns:
            In the mode 'tensor' the frozen features (B, D); in 'loss', where
            the samples need ``gt_label``, the loss of each head, named by its
            key; in 'predict' the samples with ``top_classes``, a dict from
            the key to (R,) classes, best first.
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
            f'loss_{head_name(key)}': F.cross_entropy(logits, labels)
            for key, logits in self._logits(features)
        }

    def _predict(self, features: Tensor,
                 data_samples: list[DataSample]) -> list[DataSample]:
        top = {
            key: logits.topk(min(5, self.num_classes)).indices
            for key, logits in self._logits(features)
        }
        for sample, *classes in zip(data_samples, *top.values()):
            sample.set_field(dict(zip(top, classes)), 'top_classes')
        return data_samples

    def _logits(self, features: Tensor) -> Iterator[tuple[Key, Tensor]]:
        """Key and logits (B, C) of each head."""
        for key, seen, head in zip(self.keys, self._seen, self.heads):
            yield key, head(features[:, seen])


def split_key(key: Key) -> tuple[Choice | None, float]:
    """Split a head's key into its choice of features, if any, and its rate."""
    return key if isinstance(key, tuple) else (None, key)


def head_name(key: Key) -> str:
    """Return the name of a head in the losses and accuracies."""
    choice, lr = split_key(key)
    return f'{choice}_lr{lr:g}' if choice else f'lr{lr:g}'


def official_features(backbone: nn.Module) -> dict:
    """Config of the features of the authors' linear classifiers (App. F.2).

    The class tokens of the last 4 blocks of a ViT-S, of all where there are
    fewer; of a ViT of width 768 or more the class token and the mean patch
    token; the pooled output of other networks.
    """
    try:
        require_blocks(backbone)
    except ValueError:
        return dict(type='PooledFeatures')
    if backbone.embed_dims >= 768:
        return dict(type='ClassAndPatchFeatures')
    return dict(type='LastBlocks', n=min(4, backbone.num_layers))
