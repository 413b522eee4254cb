"""CorLoc: the share of images in which one object is found."""

import numpy as np

from mmdino.evaluation.base import SampleMetric
from mmdino.functional.dense import box_iou
from mmdino.registry import METRICS


@METRICS.register_module()
class CorLoc(SampleMetric):
    """Percentage of images whose predicted box overlaps that of an object.

    The key is ``discovery/corloc`` (Deselaers et al. 2010; arXiv 2109.14279,
    section 4.1). Boxes overlap if their intersection over union is at least
    ``iou``. Samples need ``pred_box`` (4,) in fractions of the image, from
    :class:`ObjectFinder`, and either ``gt_boxes`` (number of boxes, 4) in
    pixels, with ``ori_shape``, or ``gt_mask`` (H, W): 0 is background, each
    object has a number of its own. Boxes are (top, left, bottom, right).
    Images without an object do not count.

    Args:
        iou: Smallest intersection over union, in (0, 1].
        ignore_index: Pixels of the mask with this number are left out.
        **kwargs: Arguments of MMEngine's ``BaseMetric``.

    Raises:
        ValueError: If ``iou`` is not in (0, 1]; in ``evaluate``, if no image
            has an object.
    """
    default_prefix = 'discovery'
    needs = dict(pred_box='the model must be an ObjectFinder')

    def __init__(self,
                 iou: float = 0.5,
                 ignore_index: int = 255,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 < iou <= 1:
            raise ValueError(f'iou must be in (0, 1], got {iou}.')
        self.iou = iou
        self.ignore_index = ignore_index

    def keep(self, sample: dict) -> float:
        """Compute the best IoU with an object; NaN if there is none."""
        boxes, shape = self._objects(sample)
        if not len(boxes):
            return float('nan')
        box = np.asarray(sample['pred_box'], float) * np.tile(shape, 2)
        return float(box_iou(box, boxes).max())

    def _objects(self, sample: dict) -> tuple[np.ndarray, tuple[int, int]]:
        """Return the objects' boxes in pixels and the image's (height, width).
        """
        if sample.get('gt_boxes') is not None:
            return np.asarray(sample['gt_boxes'], float), sample['ori_shape']
        if sample.get('gt_mask') is None:
            raise KeyError(
                'CorLoc found neither `gt_boxes` nor `gt_mask` in the sample '
                f'of {sample.get("img_path", "an image")}: PackInputs must '
                "pack one of them (algorithm_keys=('gt_boxes', )).")
        mask = np.asarray(sample['gt_mask'])
        numbers = np.setdiff1d(np.unique(mask), [0, self.ignore_index])
        return np.array([mask_box(mask == n) for n in numbers]), mask.shape

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """Compute the percentage among the images with an object."""
        overlaps = np.array(results)
        overlaps = overlaps[~np.isnan(overlaps)]
        if not len(overlaps):
            raise ValueError(
                f'CorLoc found no object in {len(results)} images: check '
                '`gt_boxes` or `gt_mask` of the data set.')
        return {'corloc': 100 * float((overlaps >= self.iou).mean())}


@METRICS.register_module()
class CenterBoxCorLoc(CorLoc):
    """CorLoc in percent of a box in the middle of each image, as a baseline.

    The key is ``discovery/corloc_center``. The box has the aspect ratio of the
    image and, of ten sizes, the one with the highest CorLoc. A method is
    useful only if it exceeds this figure.
    """
    SIZES = np.arange(1, 11) / 10  # sides of the box / sides of the image

    def keep(self, sample: dict) -> list[float]:
        """Compute the best IoU of each box size; NaN if there is no object."""
        half = self.SIZES[:, None] / 2
        boxes = np.hstack([.5 - half, .5 - half, .5 + half, .5 + half])
        return [
            super(CenterBoxCorLoc, self).keep(dict(sample, pred_box=box))
            for box in boxes
        ]

    def compute_metrics(self, results: list[list[float]]) -> dict[str, float]:
        """Return the percentage of the best box size."""
        shares = [
            CorLoc.compute_metrics(self, overlaps)['corloc']
            for overlaps in zip(*results)
        ]
        return {'corloc_center': max(shares)}


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Compute the bounding box of a bool mask (H, W).

    Returns:
        Top, left, bottom and right; bottom and right are exclusive.
    """
    rows, columns = np.nonzero(mask)
    return (int(rows.min()), int(columns.min()), int(rows.max()) + 1,
            int(columns.max()) + 1)
