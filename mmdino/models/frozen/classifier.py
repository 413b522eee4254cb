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

    It is fine-tuned as a whole. The network and its normalisation are those
    that the checkpoint tells of; a config that is given must agree.

    Args:
        head: Config of the head, with ``num_classes``; by default
            ``in_channels`` is the width of the backbone.
        checkpoint: Of the pretraining to start from, or of a fine-tuned
            classifier to test.
        backbone: Config of the backbone; by default the checkpoint tells.
        drop_path_rate: Of the backbone in fine-tuning; by default that of its
            config.
        data_preprocessor: Config of the preprocessor, ``mean`` and ``std`` by
            default those of the checkpoint.
        **kwargs: As mmpretrain's.

    Attributes:
        network_cfg (dict): Network config, see :mod:`mmdino.weights.config`.

    Raises:
        CheckpointError: If the checkpoint does not fit.
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
                             'tells its backbone: --cfg-options '
                             'model.checkpoint=FILE')
        if drop_path_rate is not None:
            backbone = dict(backbone, drop_path_rate=drop_path_rate)
        backbone = build_module(backbone)
        head = dict(head)
        if 'in_channels' not in head:
            head['in_channels'] = embedding_width(dict(backbone=backbone))
        # Mixup needs the number of classes, which the head's config says.
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
    """Take over mean and std, of which a config may say no other ones."""
    for key in ('mean', 'std'):
        kept = network['preprocessing'][key]
        if list(preprocessor.setdefault(key, kept)) != kept:
            raise CheckpointError(
                f'{checkpoint} was trained on images normalised in another '
                f'way: {key} is {kept} there, {preprocessor[key]} in the '
                f'config. Leave out model.data_preprocessor.{key}.')
