"""Maps of any timm model, for segmentors and detectors."""
from typing import Optional, Sequence, Tuple

from torch import Tensor

from mmdino.registry import MODELS
from .timm_backbone import TimmBackbone


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
                 out_indices: Optional[Sequence[int]] = None,
                 **kwargs) -> None:
        super().__init__(model_name, **kwargs)
        if not hasattr(self.model, 'forward_intermediates'):
            raise ValueError(f"timm's {model_name} yields no maps: it has no "
                             'forward_intermediates.')
        if out_indices is not None:
            self._check_indices(model_name, out_indices)
        self.out_indices = None if out_indices is None else list(out_indices)

    def _check_indices(self, model_name: str,
                       out_indices: Sequence[int]) -> None:
        blocks = getattr(self.model, 'blocks', None)
        num_blocks = len(blocks or self.model.feature_info)
        if not set(out_indices) <= set(range(num_blocks)):
            raise ValueError(f'out_indices={tuple(out_indices)}: the blocks '
                             f'of {model_name} are 0 to {num_blocks - 1}.')

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Turn images (B, C, H, W) into maps, each (B, D_i, h_i, w_i)."""
        return tuple(
            self.model.forward_intermediates(
                x, indices=self.out_indices, intermediates_only=True))
