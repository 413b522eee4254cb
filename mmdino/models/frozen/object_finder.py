"""Unsupervised object discovery from patch features.

Letters: B images, D features, (h, w) the patch grid.
"""
import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.functional.dense import lost_box
from mmdino.models.frozen.frozen_teacher import FrozenTeacher
from mmdino.registry import MODELS


@MODELS.register_module()
class ObjectFinder(FrozenTeacher):
    """Find one object an image by :func:`lost_box` on a teacher's features.

    LOST, Siméoni et al. 2021 (arXiv 2109.14279).

    Args:
        facet: Which features of the patches to use, 'token' or 'key', see
            :meth:`FrozenTeacher.patches`; the paper uses 'key'.
        seeds: Number of candidates that may join the seed, k of the paper.
        **kwargs: Other arguments of :class:`FrozenTeacher`.

    Raises:
        ValueError: If the backbone has no such features, or ``seeds`` is
            below 1.
    """

    def __init__(self, facet: str = 'key', seeds: int = 100, **kwargs) -> None:
        super().__init__(**kwargs)
        self.require_patches(facet)
        if seeds < 1:
            raise ValueError(f'seeds must be at least 1, got {seeds}.')
        self.facet = facet
        self.seeds = seeds

    def predict(self, inputs: Tensor,
                data_samples: list[DataSample]) -> list[DataSample]:
        """Write the box of each image (B, C, H, W) into its sample.

        Returns:
            The samples with ``pred_box`` (4, ): top, left, bottom, right, as
            fractions of the image's height and width.
        """
        for image, sample in zip(inputs, data_samples):
            sample.set_field(self.find(image), 'pred_box', dtype=Tensor)
        return data_samples

    def find(self, image: Tensor) -> Tensor:
        """Find the box of one object in a normalised image (C, H, W).

        Returns:
            (4,) on the CPU: top, left, bottom, right, as fractions of the
            image's height and width.
        """
        patches = self.patches(image[None], self.facet)[0].float()
        grid = tuple(patches.shape[:2])
        box = lost_box(patches.flatten(0, 1), grid, self.seeds)
        return torch.tensor(box) / torch.tensor(grid * 2)
