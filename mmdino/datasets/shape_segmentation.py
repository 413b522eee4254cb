"""ShapeScenes with a class for every pixel."""
from mmdino.registry import DATASETS
from .shape_scenes import ShapeScenes


@DATASETS.register_module()
class ShapeSegmentation(ShapeScenes):
    """Segment the pictures of :class:`ShapeScenes`, as mmseg's data sets do.

    An item has ``img`` (H, W, 3; uint8, BGR) and ``gt_seg_map`` (H, W;
    uint8): 0 for the background, else 1 + the label of the picture's shape.
    """

    METAINFO = dict(classes=('background', *ShapeScenes.METAINFO['classes']))

    def load_data_list(self) -> list[dict]:
        """List what is known before drawing: the labels."""
        num_shapes = len(self.METAINFO['classes']) - 1
        return [dict(gt_label=i % num_shapes) for i in range(self.num_images)]

    def get_data_info(self, idx: int) -> dict:
        """Draw picture ``idx``."""
        info = super().get_data_info(idx)
        seg_map = info.pop('gt_mask') * (info.pop('gt_label') + 1)
        return dict(
            info,
            gt_seg_map=seg_map.astype('uint8'),
            seg_fields=['gt_seg_map'],
            reduce_zero_label=False)
