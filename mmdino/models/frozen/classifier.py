"""mmpretrain's classifier on a backbone pretrained with DINO."""
from collections.abc import Mapping
from typing import Any

from mmpretrain.models import ImageClassifier

from mmdino.models.embedding import embedding_width
from mmdino.registry import MODELS, build_module
from mmdino.weights.keys import CheckpointError
from mmdino.weights.network import (load_pretrained, load_strictly,
                                    open_weights, resolve_network)


@MODELS.register_module()
class PretrainedClassifier(ImageClassifier):
    """``ImageClassifier`` whose backbone starts from all weights of a teacher.

    All weights are fine-tuned. The backbone and the normalisation of images
    are those stored in the checkpoint; a config must agree with them.

    Args:
        head: Config of the head, with ``num_classes``; by default
            ``in_channels`` is the width of the backbone.
        checkpoint: File of the pretraining to start from, or of a fine-tuned
            classifier to test.
        backbone: Config of the backbone; by default that of the checkpoint.
        drop_path_rate: Rate of stochastic depth in fine-tuning; by default
            that of the backbone's config.
        data_preprocessor: Config of the preprocessor; ``mean`` and ``std`` are
            those of the checkpoint by default.
        **kwargs: Other arguments of mmpretrain's ``ImageClassifier``.

    Attributes:
        network_cfg (dict): With a checkpoint, the network config, see
            :mod:`mmdino.weights.config`.

    Raises:
        CheckpointError: If the checkpoint does not match the config.
        FileNotFoundError: If there is no such file.
        ValueError: If there is neither a checkpoint nor a backbone.
    """

    def __init__(self,
                 head: dict,
                 checkpoint: str | None = None,
                 backbone: dict | None = None,
                 drop_path_rate: float | None = None,
                 data_preprocessor: dict | None = None,
                 **kwargs) -> None:
        weights = open_weights(
            checkpoint, given=dict(backbone=backbone)) if checkpoint else None
        preprocessor = dict(data_preprocessor or {})
        if weights:
            self.network_cfg = resolve_network(weights,
                                               dict(backbone=backbone))
            backbone = self.network_cfg['backbone']
            _fill_normalisation(preprocessor, self.network_cfg, checkpoint)
        if not backbone:
            raise ValueError('PretrainedClassifier needs a checkpoint, which '
                             'holds the config of its backbone: set '
                             '--cfg-options model.checkpoint=FILE.')
        if drop_path_rate is not None:
            backbone = dict(backbone, drop_path_rate=drop_path_rate)
        backbone = build_module(backbone)
        head = dict(head)
        if 'in_channels' not in head:
            head['in_channels'] = embedding_width(dict(backbone=backbone))
        # Mixup needs the number of classes.
        preprocessor['num_classes'] = head['num_classes']
        super().__init__(
            backbone, head=head, data_preprocessor=preprocessor, **kwargs)
        self.checkpoint = checkpoint
        if weights and weights.tensors.keys() == self.state_dict().keys():
            load_strictly(self, weights.tensors, f'{checkpoint}')

    def init_weights(self) -> None:
        """Initialise the head and load the backbone."""
        super().init_weights()
        load_pretrained(self.backbone, self.checkpoint, 'teacher.backbone.')


def _fill_normalisation(preprocessor: dict, network: Mapping[str, Any],
                        checkpoint: str) -> None:
    """Fill in mean and std of the checkpoint, or raise if a config differs."""
    for key in ('mean', 'std'):
        kept = network['preprocessing'][key]
        if list(preprocessor.setdefault(key, kept)) != kept:
            raise CheckpointError(
                f'{checkpoint} was trained with another normalisation of '
                f'images: {key} is {kept} there and {preprocessor[key]} in '
                f'the config. Leave out model.data_preprocessor.{key}.')
