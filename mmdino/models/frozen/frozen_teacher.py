"""A trained network for all uses but training.

Letters: B images, D features, N patch tokens, R registers, H heads, (h, w) the
patch grid.
"""
import torch
import torch.nn as nn
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.models.backbones.attention import require_attention
from mmdino.models.embedding import embed, write_features
from mmdino.models.frozen.features import last_blocks, patch_tokens
from mmdino.registry import MODEL_WRAPPERS, MODELS, build_module
from mmdino.weights.config import describe_network, preprocessor_cfg
from mmdino.weights.network import load_strictly, open_weights, resolve_network


@MODELS.register_module()
class FrozenTeacher(BaseModel):
    """The backbone and neck of a trained teacher, with all weights loaded.

    Weights that are missing or left over are an error. No student and no head
    are built. The network and the normalisation of images are those stored in
    the checkpoint; a config must agree with them. The model is always in eval
    mode and its parameters have no gradients.

    Args:
        checkpoint: File of any format that :mod:`mmdino.weights` knows.
            Without it ``backbone`` is needed, and the weights are random, for
            a comparison or until a state dict is loaded.
        backbone: Config of the backbone; by default that of the checkpoint.
        neck: Config of the pooling of a backbone that yields maps; by default
            that of the checkpoint.
        data_preprocessor: Config of the preprocessor; by default that of the
            checkpoint.
        features: Config of how an image becomes one vector, see
            :mod:`mmdino.models.frozen.features`; by default the pooled output,
            as for k-NN.
        predict_attention: Let ``predict`` also return the class token's
            attention.
        num_heads: Number of attention heads of a ViT whose file, written by
            another library, does not store it.

    Attributes:
        network_cfg (dict): Network config, see :mod:`mmdino.weights.config`.
        has_weights (bool): Whether the weights came from a checkpoint.

    Raises:
        CheckpointError: If the checkpoint and the config disagree, or a
            weight is missing, left over or of another shape.
        FileNotFoundError: If there is no such file.
        ValueError: If there is neither a checkpoint nor a backbone, or
            ``predict_attention`` is set and the backbone gives no attention.
    """

    is_frozen = True  # without gradients it needs no DDP wrapper

    def __init__(self,
                 checkpoint: str | None = None,
                 backbone: dict | None = None,
                 neck: dict | None = None,
                 data_preprocessor: dict | None = None,
                 features: dict | None = None,
                 predict_attention: bool = False,
                 num_heads: int | None = None) -> None:
        given = dict(
            backbone=backbone, neck=neck, data_preprocessor=data_preprocessor)
        weights = open_weights(checkpoint, given=given) if checkpoint else None
        network = resolve_network(weights, given,
                                  num_heads) if weights else _given(given)
        super().__init__(
            data_preprocessor=build_module(preprocessor_cfg(network)))
        self.network_cfg = network
        self.backbone = build_module(network['backbone'])
        self.neck = build_module(
            network['neck']) if network.get('neck') else None
        self.feature_rule = build_module(features) if features else embed
        self.has_weights = weights is not None
        for name, module in self.parts.items():
            if weights and module.state_dict():
                load_strictly(module, weights.part(name),
                              f'The {name} in {weights.path}')
        self.requires_grad_(False)
        self.train()
        if predict_attention:
            self.require_attention()
        self.predict_attention = predict_attention

    @property
    def preprocessing(self) -> dict:
        """Return how images must be prepared for the network.

        See :mod:`mmdino.weights.config`.
        """
        return self.network_cfg['preprocessing']

    @property
    def color_type(self) -> str:
        """Return the ``color_type`` of LoadImage for the network's channels.
        """
        channels = len(self.preprocessing['mean'])
        return {1: 'grayscale', 3: 'color'}.get(channels, 'unchanged')

    @property
    def parts(self) -> dict[str, nn.Module]:
        """Return ``backbone`` and, if there is one, ``neck``."""
        parts = dict(backbone=self.backbone, neck=self.neck)
        return {name: part for name, part in parts.items() if part is not None}

    def init_weights(self) -> None:
        """Initialise the network, if it was given no weights."""
        if not self.has_weights:
            super().init_weights()

    def train(self, mode: bool = True) -> 'FrozenTeacher':
        """Stay in eval mode, whatever ``mode`` is."""
        return super().train(False)

    def forward(self,
                inputs: Tensor,
                data_samples: list[DataSample] | None = None,
                mode: str = 'tensor') -> Tensor | list[DataSample]:
        """Run the mode ``tensor`` (:meth:`features`) or ``predict``.

        Raises:
            ValueError: If the mode is another one.
        """
        if mode == 'tensor':
            return self.features(inputs)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f'{type(self).__name__} has no mode {mode!r}: it '
                         'cannot be trained.')

    def require_attention(self) -> None:
        """Raise an error if the backbone gives no attention.

        Raises:
            ValueError: If the backbone is no ViT.
        """
        require_attention(self.backbone)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Compute features (B, D) of normalised images (B, C, H, W)."""
        return self.feature_rule(self.parts, images)

    @torch.no_grad()
    def tokens(self, images: Tensor, n: int = 1) -> list[Tensor]:
        """Compute the tokens of the last blocks, in the order of the network.

        Args:
            images: Normalised, (B, C, H, W).
            n: Number of blocks.

        Returns:
            For each block, the class token, registers and patches after the
            final norm, (B, 1 + R + N, D).

        Raises:
            ValueError: If the backbone has fewer than n blocks or is no ViT.
        """
        return last_blocks(self.backbone, images, n)

    @torch.no_grad()
    def patches(self, images: Tensor, facet: str = 'token') -> Tensor:
        """Compute features (B, h, w, D) of the patches of images (B, C, H, W).

        Args:
            images: Normalised; height and width are multiples of the patch.
            facet: 'token' for the tokens after the final norm, 'key' for the
                keys of the last block's attention.

        Raises:
            ValueError: If the backbone does not give these features.
        """
        self.require_patches(facet)
        if facet == 'key':
            tokens = self.backbone.last_keys(images)
        else:
            tokens = self.backbone.tokens(images)
        return patch_tokens(self.backbone,
                            tokens).unflatten(1,
                                              self.backbone.patch_grid(images))

    def require_patches(self, facet: str = 'token') -> None:
        """Raise an error if the backbone gives no features of patches.

        Args:
            facet: As of :meth:`patches`.

        Raises:
            ValueError: If the backbone does not give these features, or there
                is no such facet.
        """
        needed = dict(token='tokens', key='last_keys').get(facet)
        if needed is None:
            raise ValueError(f"facet must be 'token' or 'key', got {facet!r}.")
        if not hasattr(self.backbone, needed):
            raise ValueError(
                f'{type(self.backbone).__name__} gives no {facet} for each '
                'patch: use a checkpoint of a ViT, such as dino_vit-s16 '
                '(`mmdino models` lists the published ones).')
        require = dict(token='require_patches', key='require_keys')[facet]
        if hasattr(self.backbone, require):
            getattr(self.backbone, require)()

    @torch.no_grad()
    def class_attention(self, images: Tensor) -> Tensor:
        """Compute the class token's attention (B, H, h, w) in the last block.
        """
        return self.backbone.class_attention(images)

    def predict(
            self,
            inputs: Tensor,
            data_samples: list[DataSample] | None = None) -> list[DataSample]:
        """Write the features of images (B, C, H, W) into their data samples.

        Returns:
            The same samples, with ``feature`` (D, ) and, with
            ``predict_attention``, ``attention`` (H, h, w).
        """
        return write_features(
            data_samples or [DataSample() for _ in inputs], self.features,
            inputs, self.backbone if self.predict_attention else None)


@MODEL_WRAPPERS.register_module()
class Unwrapped:
    """Model wrapper that returns the model itself.

    It takes the place of DDP for models that are not trained: without
    gradients there is nothing to synchronise.
    """

    def __new__(cls, module: nn.Module) -> nn.Module:
        return module


def _given(given: dict) -> dict:
    """Return the network config of a model config without a checkpoint."""
    if not given['backbone']:
        raise ValueError('FrozenTeacher needs a checkpoint, which holds the '
                         'config of its network, or a backbone: set '
                         'model.checkpoint.')
    return describe_network(dict(model=given))
