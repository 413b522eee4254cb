"""Data sets that read samples from a source, without a list of dicts."""
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from mmdino.datasets.images import Images
from mmdino.datasets.sources import Source


class ArraySource(Source, Protocol):
    """A source that keeps its samples in arrays until they are read.

    Attributes:
        labels (np.ndarray): (N,) integers, -1 for no label; may be
            memory-mapped.
        without_label (int): Number of samples without a label.
        first_without (str): Name of the first of them and the reason, or ''.
        max_label (int): The largest label.
        classes (tuple[str] | None): Names of the classes, if they are known.
    """
    labels: np.ndarray
    without_label: int
    first_without: str
    max_label: int
    classes: tuple[str] | None


class SourceImages(Images):
    """:class:`.Images` of one source, which keeps arrays instead of lists.

    Unreadable images, ``indices`` and ``images_per_class`` are handled as in
    Images. The labels are those of the source. Subclasses define ``_open``.
    """

    @abstractmethod
    def _open(self) -> ArraySource:
        """Open the source."""

    def load_data_list(self) -> 'Samples':
        """Return the samples of the source, lazily."""
        self.source = self._open()
        if self.CLASSES is None and self.source.classes:
            self._metainfo['classes'] = tuple(self.source.classes)
        labelled = self.with_label is not False and self._has_labels()
        return Samples(self.source, range(len(self.source)), labelled)

    def filter_data(self) -> 'Samples':
        """Keep the first ``images_per_class`` of each class."""
        if self.images_per_class is None:
            return self.data_list
        if not self.data_list.labelled:
            raise ValueError('images_per_class needs labels, and '
                             f'{self._source} has none: leave it out')
        labels = self.data_list.labels
        order = np.argsort(labels, kind='stable')
        begins = np.searchsorted(labels[order], labels[order])
        place_in_class = np.arange(len(order)) - begins
        kept = order[place_in_class < self.images_per_class]
        return self.data_list.subset(np.sort(kept))

    def get_gt_labels(self) -> np.ndarray:
        """Return the labels (N,)."""
        return self.data_list.labels

    def _get_unserialized_subset(self,
                                 indices: int | Sequence[int]) -> 'Samples':
        return self.data_list.subset(indices)

    def _has_labels(self) -> bool:
        source = self.source
        if source.without_label and self.with_label:
            raise ValueError(
                f'with_label=True, but {source.without_label} of the '
                f'{len(source)} images of {self._source} have no label; the '
                f'first is {source.first_without}')
        if source.without_label:
            return False
        if self.CLASSES and source.max_label >= len(self.CLASSES):
            raise ValueError(
                f'{self._source} has the label {source.max_label}, but the '
                f'{len(self.CLASSES)} classes have the labels 0 to '
                f'{len(self.CLASSES) - 1}: give all classes')
        return True


class Samples(Sequence):
    """Chosen samples of a source, as items of a data set.

    Args:
        source: The source of all samples.
        chosen: Indices of the chosen samples in the source.
        labelled: Whether items have ``gt_label``.
    """

    def __init__(self, source: ArraySource, chosen: range | np.ndarray,
                 labelled: bool) -> None:
        self.source = source
        self.chosen = chosen
        self.labelled = labelled

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> dict:
        number = int(self.chosen[index])
        item = dict(img_path=self.source.path(number))
        if self.labelled:
            item['gt_label'] = int(self.source.labels[number])
        return item

    def __iter__(self) -> Iterator[dict]:
        return (self[i] for i in range(len(self)))

    @property
    def labels(self) -> np.ndarray:
        """Return a copy of the labels (N,)."""
        if isinstance(self.chosen, range):
            begin, end = self.chosen.start, self.chosen.stop
            return np.array(self.source.labels[begin:end])
        return self.source.labels[self.chosen]

    def subset(self, indices: int | Sequence[int]) -> 'Samples':
        """Return some of the samples.

        Args:
            indices: Their indices; or a number n, for the first n samples or,
                if it is negative, the last -n.
        """
        if isinstance(indices, int):
            part = slice(indices) if indices >= 0 else slice(indices, None)
            return Samples(self.source, self.chosen[part], self.labelled)
        chosen = np.asarray(self.chosen)[np.asarray(indices, np.int64)]
        return Samples(self.source, chosen, self.labelled)
