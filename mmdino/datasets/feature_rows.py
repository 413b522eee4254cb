"""Saved features in the place of images."""
from mmengine.dataset import BaseDataset
from mmpretrain.structures import DataSample

from mmdino.evaluation.feature_file import load_features
from mmdino.registry import DATASETS


@DATASETS.register_module()
class FeatureRows(BaseDataset):
    """The rows of a feature file, for :class:`SavedFeatures`.

    An item is a dict with ``inputs`` (D,) float32 and ``data_samples``, which
    has ``img_path`` and, if the file has labels, ``gt_label``.

    Args:
        path (str): A file of :func:`mmdino.evaluation.save_features`.
        **kwargs: The rest of MMEngine's BaseDataset: ``indices``, ...

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, or a damaged one.
    """

    def __init__(self, path: str, **kwargs) -> None:
        self.path = path
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """List names and labels; the features stay in one tensor."""
        data = load_features(self.path)
        self.features = data.features
        if data.classes is not None:
            self._metainfo['classes'] = tuple(data.classes)
        items = [
            dict(img_path=path, row=row) for row, path in enumerate(data.paths)
        ]
        if data.labels is not None:
            for item, label in zip(items, data.labels.tolist()):
                item['gt_label'] = label
        return items

    def __getitem__(self, index: int) -> dict:
        item = self.get_data_info(index)
        sample = DataSample(metainfo=dict(img_path=item['img_path']))
        if 'gt_label' in item:
            sample.set_gt_label(item['gt_label'])
        return dict(inputs=self.features[item['row']], data_samples=sample)
