"""Linear classification of frozen features (arXiv 2104.14294, table 2).

Letters: B images, D features, C classes, R top classes, E heads (linear
classifiers).
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

    With features that offer choices (:class:`.BlocksAndMean`) there is one
    head for each choice and learning rate. The heads are trained independently
    of each other on features that are computed once for all.
    :class:`LinearProbeConstructor` gives each head its learning rate, and
    :class:`LinearProbeAccuracy` reports the best. The checkpoint of a probe
    contains the network's weights as well, so that it can be tested alone.

    Args:
        num_classes: Number of classes C.
        learning_rates: Learning rates, each for one head, at the batch size of
            ``auto_scale_lr``.
        features: Config of the features that the heads see; by default those
            that the authors use for such a network
            (:func:`official_features`). :class:`.BlocksAndMean` offers
            choices, as in DINOv2.
        checkpoint: File of the pretraining to train on, or of a probe to test.
        backbone: Config of the backbone; by default that of the checkpoint.
        neck: Config of the pooling of a backbone that yields maps.
        data_preprocessor: Config of the preprocessor; by default that of the
            checkpoint.

    Attributes:
        keys (list): For each of the E heads its learning rate, or with choices
            a pair of :class:`.Choice` and learning rate.

    Raises:
        CheckpointError: If the checkpoint does not match the config.
        FileNotFoundError: If there is no such file.
        ValueError: If a learning rate is repeated or not positive, there is
            none, or ``num_classes`` is not positive; in training, if there is
            no checkpoint or a label is not in [0, C).
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
                'The linear probe has no checkpoint to start from. Give the '
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

        Args:
            inputs: Normalised images, (B, C, H, W).
            data_samples: One for each image; with ``gt_label`` for ``loss``.
            mode: 'tensor', 'loss' or 'predict'.

        Returns:
            In the mode 'tensor' the frozen features (B, D); in 'loss' the loss
            of each head as ``loss_`` and :func:`head_name`; in 'predict' the
            samples with ``top_classes``, a dict from the key of each head to
            its (R,) most likely classes, best first.

        Raises:
            ValueError: In the mode 'loss', if a label is not in [0, C).
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
                f'The labels of a batch range from {low} to {high}, but the '
                f'probe has {self.num_classes} classes, 0 to '
                f'{self.num_classes - 1}: set model.num_classes.')
        labels = labels.to(features.device)
        return {
            f'loss_{head_name(key)}': F.cross_entropy(logits, labels)
            for key, logits in self._logits(features)
        }

    def _predict(self, features: Tensor,
                 data_samples: list[DataSample]) -> list[DataSample]:
        top = {
            key: logits.topk(5 if self.num_classes > 5 else 1).indices
            for key, logits in self._logits(features)
        }
        for sample, *classes in zip(data_samples, *top.values()):
            sample.set_field(dict(zip(top, classes)), 'top_classes')
        return data_samples

    def _logits(self, features: Tensor) -> Iterator[tuple[Key, Tensor]]:
        """Yield the key and the logits (B, C) of each head."""
        for key, seen, head in zip(self.keys, self._seen, self.heads):
            yield key, head(features[:, seen])


def split_key(key: Key) -> tuple[Choice | None, float]:
    """Split a head's key into its choice of features, or None, and its rate.
    """
    return key if isinstance(key, tuple) else (None, key)


def head_name(key: Key) -> str:
    """Return the name of a head in the log, such as ``blocks4_mean_lr0.01``.
    """
    choice, lr = split_key(key)
    return f'{choice}_lr{lr:g}' if choice else f'lr{lr:g}'


def official_features(backbone: nn.Module) -> dict:
    """Config of the features of the authors' linear classifiers (App. F.2).

    For a ViT of width 768 or more (ViT-B) these are the class token and the
    mean patch token of the last block; for a smaller one (ViT-S) the class
    tokens of the last 4 blocks, or of all if it has fewer; for other networks
    the pooled output.
    """
    try:
        require_blocks(backbone)
    except ValueError:
        return dict(type='PooledFeatures')
    if backbone.embed_dims >= 768:
        return dict(type='ClassAndPatchFeatures')
    return dict(type='LastBlocks', n=min(4, backbone.num_layers))
