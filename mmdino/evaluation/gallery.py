"""A set of images to compare with, dealt in turn to the ranks.

G images in all, G' on this rank, D features, W ranks.
"""
from typing import NamedTuple, Optional, Tuple

import torch
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from torch import Tensor


class Gallery(NamedTuple):
    """This rank's share of a gallery.

    Attributes:
        features: (G', D) float32, on the CPU.
        labels: (G',) integers from 0, or None without ground truth.
        places: (G',) where the images stand in the whole gallery.
        size: G.
    """
    features: Tensor
    labels: Optional[Tensor]
    places: Tensor
    size: int

    @classmethod
    def of_rank(cls, features: Tensor, labels: Optional[Tensor],
                size: int) -> 'Gallery':
        """Take the images rank, rank + W, rank + 2 W, ... of the gallery.

        That is how MMEngine's DefaultSampler deals them without shuffling;
        the duplicates with which it fills up the ranks are dropped.
        """
        places = get_rank() + get_world_size() * torch.arange(len(features))
        own = int((places < size).sum())
        labels = None if labels is None else labels[:own]
        return cls(features[:own], labels, places[:own], size)

    def all_labels(self) -> Optional[Tensor]:
        """Labels (G,) of the whole gallery."""
        if self.labels is None:
            return None
        return gather_rows(self.labels, self.size)

    def whole(self) -> Tuple[Tensor, Optional[Tensor]]:
        """Features (G, D) and labels (G,) of the whole gallery.

        Every rank holds all of them then: for galleries of some thousands.
        """
        return gather_rows(self.features, self.size), self.all_labels()


def gather_rows(part: Tensor, size: int) -> Tensor:
    """Rows of all ranks in the order in which a sampler dealt them.

    Args:
        part: This rank's rows, which are rank, rank + W, rank + 2 W, ... of
            the data set; ranks may have one more or less.
        size: Rows of the data set. Those beyond it are duplicates.
    """
    if get_world_size() == 1:  # spares copies of millions of rows
        return part[:size]
    longest = torch.tensor(len(part))
    all_reduce(longest, 'max')
    padded = part.new_zeros((int(longest), *part.shape[1:]))
    padded[:len(part)] = part
    counts = torch.stack(all_gather(torch.tensor(len(part))))
    filled = torch.arange(int(longest))[:, None] < counts
    rows = torch.stack(all_gather(padded), dim=1)
    return rows[filled][:size]
