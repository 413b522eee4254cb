"""k-NN accuracy of patches, with the patches of other images.

Letters: P patches of an image, D features, (h, w) the patch grid, (H, W)
pixels.
"""

import torch
from torch import Tensor

from mmdino.evaluation.base import SampleMetric
from mmdino.functional.segmentation import knn_scores, patch_labels
from mmdino.registry import METRICS


@METRICS.register_module()
class PatchKNN(SampleMetric):
    """k-NN accuracy of patches in percent, a dense measure during training.

    Every second image is a query; the others are the gallery. The class of a
    patch is the most frequent one of its pixels in the mask. The accuracy is
    averaged over classes, so that a large background does not dominate it.
    After the training, :class:`DenseTestLoop` measures the segmentation in
    more detail, by pixels.

    The key is ``dense/patch_knn``. Samples need ``patches`` (D, h, w), which
    the model's predict mode adds with ``predict_patches=True``, and
    ``gt_mask`` (H, W).

    Args:
        num_classes: Number of classes; patches of other classes are left out.
        first_class: Number of the first class in the masks.
        k: Number of neighbours of a patch.
        temperature: Temperature of the votes exp(similarity / temperature).
        patches_per_image: How many patches of each image to use, evenly
            spread.
        **kwargs: Arguments of MMEngine's ``BaseMetric``.

    Raises:
        ValueError: In ``evaluate``, if there are fewer than two images, or no
            patch of any class.
    """
    default_prefix = 'dense'
    needs = dict(
        patches='build the model with predict_patches=True',
        gt_mask='the data set must give masks and PackInputs must pack them '
        "(algorithm_keys=('gt_mask', ))")

    def __init__(self,
                 num_classes: int,
                 first_class: int = 0,
                 k: int = 20,
                 temperature: float = 0.07,
                 patches_per_image: int = 64,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.first_class = first_class
        self.k = k
        self.temperature = temperature
        self.patches_per_image = patches_per_image

    def keep(self, sample: dict) -> tuple[Tensor, Tensor]:
        """Return features (P, D) and classes (P,) of an image's patches."""
        patches = torch.as_tensor(sample['patches']).float().cpu()
        mask = torch.as_tensor(sample['gt_mask']).long().cpu()
        grid = tuple(patches.shape[1:])
        # Side of a patch in pixels of the mask.
        side = max(1, mask.shape[-2] // grid[0])
        labels = patch_labels(mask, grid, side).flatten() - self.first_class
        counts = ((labels >= 0) & (labels < self.num_classes)).nonzero()[:, 0]
        number = min(self.patches_per_image, len(counts))
        places = counts[torch.arange(number) * len(counts) // max(number, 1)]
        return patches.flatten(1).T[places].clone(), labels[places]

    def compute_metrics(
            self, results: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Average the accuracy over the classes of the query patches."""
        if len(results) < 2:
            raise ValueError('PatchKNN compares images with others and needs '
                             f'at least two, got {len(results)}.')
        (gallery, known), (queries, truth) = (
            map(torch.cat, zip(*half))
            for half in (results[::2], results[1::2]))
        if not len(known) or not len(truth):
            raise ValueError(
                'The masks have no patch of a class from '
                f'{self.first_class} to '
                f'{self.first_class + self.num_classes - 1}: they hold other '
                'numbers. Set first_class and num_classes of PatchKNN.')
        scores = knn_scores(queries, gallery, known, self.num_classes, self.k,
                            self.temperature)
        hits = (scores.argmax(1) == truth).float()
        return dict(
            patch_knn=100 *
            torch.stack([hits[truth == c].mean()
                         for c in truth.unique()]).mean().item())
