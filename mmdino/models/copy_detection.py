"""DINO's features for copy detection (arXiv 2104.14294, section 4.2.1)."""
import torch
from torch import Tensor

from mmdino.functional.retrieval import gem
from mmdino.models.dino import DINO
from mmdino.registry import MODELS


@MODELS.register_module()
class CopyDetectionDINO(DINO):
    """DINO whose feature is the class token beside the pooled patch tokens.

    Both are the last block's through the final norm; the patch tokens are
    pooled by :func:`gem`. The feature has 2 D numbers.

    Args:
        gem_power (float): Exponent of the pooling.
        **kwargs: Those of :class:`DINO`.

    Raises:
        ValueError: If the backbone gives no patch tokens.
    """

    def __init__(self, *, gem_power: float = 4., **kwargs) -> None:
        super().__init__(**kwargs)
        if not hasattr(self.backbone, 'last_blocks'):
            raise ValueError(
                'CopyDetectionDINO needs the tokens of a backbone with the '
                'method last_blocks, such as mmdino.VisionTransformer; '
                f'{type(self.backbone).__name__} has none.')
        self.gem_power = gem_power

    @torch.no_grad()
    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Give the features (B, 2 D) of images (B, C, H, W)."""
        tokens = self.teacher.backbone.last_blocks(inputs)[-1]
        pooled = gem(tokens[:, 1:], self.gem_power)
        return torch.cat([tokens[:, 0].float(), pooled], dim=1)
