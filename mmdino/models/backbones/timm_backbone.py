"""Any timm model as a backbone: pooled features or maps.

B images, C channels, D features.
"""
from collections.abc import Callable, Sequence
from functools import partial

import timm
import torch
from mmengine.utils import to_2tuple
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor

from mmdino.models.backbones.pretrained import StrictPretrained
from mmdino.registry import MODELS


@MODELS.register_module()
class TimmBackbone(StrictPretrained, BaseBackbone):
    """A timm model without its classifier: pooled features of width D.

    Multi-crop feeds images of several sizes, so models that fix their input
    size by default are built with timm's ``dynamic_img_size``. Some have no
    such argument and take one size only, such as BEiT, CaiT and MLP-Mixer.
    What pooled means is timm's default for the model: the class token of a
    ViT or XCiT, the average of a convnet's last map.

    Args:
        model_name (str): A name of ``timm.list_models()``.
        pretrained (bool): Load timm's weights, which downloads them.
        in_channels (int): Channels of the images.
        **kwargs: Of ``timm.create_model``, such as ``drop_path_rate``.

    Attributes:
        embed_dims (int): Width D of the features.
        img_size (tuple[int, int]): Height and width in pixels of the images
            that the model was built for.

    Raises:
        ValueError: If timm does not know the model; in forward, if it does
            not take images of this size.
    """

    def __init__(self,
                 model_name: str,
                 pretrained: bool = False,
                 in_channels: int = 3,
                 init_cfg: dict | None = None,
                 **kwargs) -> None:
        super().__init__(init_cfg)
        if not timm.is_model(model_name):
            raise ValueError(
                f'timm {timm.__version__} has no model {model_name!r}; see '
                "timm.list_models('*name*').")
        create = partial(
            timm.create_model,
            model_name,
            pretrained=pretrained,
            in_chans=in_channels,
            num_classes=0,
            **kwargs)
        try:
            self.model = create(dynamic_img_size=True)
        except TypeError as error:  # some take any size by nature
            if 'dynamic_img_size' not in str(error):
                raise
            self.model = create()
        self.in_channels = in_channels
        # Not num_features: some widen the pooled features once more.
        self.embed_dims = self.model.head_hidden_size
        self.model_name = model_name
        self.img_size = tuple(
            to_2tuple(
                kwargs.get('img_size')
                or self.model.pretrained_cfg['input_size'][-2:]))
        # timm initialises in its constructors.
        self._is_init = init_cfg is None

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Turn images (B, C, H, W) into pooled features ((B, D), )."""
        return self._run(lambda x: (self.model(x), ), x)

    def _run(self, function: Callable, x: Tensor) -> tuple[Tensor, ...]:
        """Call the function; say so if the size of the images is at fault."""
        size = tuple(x.shape[-2:])
        try:
            return function(x)
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, RuntimeError, ValueError) as error:
            if size == self.img_size:
                raise
            raise ValueError(
                f"timm's {self.model_name}, built for images of "
                f'{self.img_size} (height, width), failed on {size}: {error}. '
                'Crop all views to a size that it takes, or choose a model '
                'that takes several.') from error


@MODELS.register_module()
class TimmFeatureMaps(TimmBackbone):
    """:class:`TimmBackbone` that yields maps in the place of features.

    Its weights are those of ``TimmBackbone``, to the last one. What only
    serves the features, such as XCiT's class attention, gets no gradient:
    training on several GPUs needs ``find_unused_parameters=True``.

    Args:
        model_name (str): A name of ``timm.list_models()``.
        out_indices (Sequence[int], optional): Blocks (of convnets: stages),
            from 0, whose maps are yielded; by default all.
        **kwargs: Further arguments of ``TimmBackbone``.

    Raises:
        ValueError: If the model has no such block, or yields no maps.
    """

    def __init__(self,
                 model_name: str,
                 out_indices: Sequence[int] | None = None,
                 **kwargs) -> None:
        super().__init__(model_name, **kwargs)
        if not hasattr(self.model, 'forward_intermediates'):
            raise ValueError(f"timm's {model_name} yields no maps: it has no "
                             'forward_intermediates.')
        self.out_indices = out_indices and list(out_indices)
        if out_indices:
            blocks = getattr(self.model, 'blocks', None)
            num_blocks = len(blocks or self.model.feature_info)
            if not set(out_indices) <= set(range(num_blocks)):
                raise ValueError(
                    f'out_indices={tuple(out_indices)}: the blocks '
                    f'of {model_name} are 0 to {num_blocks - 1}.')

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Turn images (B, C, H, W) into maps, each (B, D_i, h_i, w_i)."""
        extract = partial(
            self.model.forward_intermediates,
            indices=self.out_indices,
            intermediates_only=True)
        return tuple(self._run(extract, x))
