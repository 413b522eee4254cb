"""Galleries and queries as MMEngine's sampler deals them to ranks."""
import torch

from mmdino.evaluation import Gallery
from mmdino.evaluation.placing import place_samples


def samples(features, labels):
    return [
        dict(feature=f, gt_label=torch.tensor([c]))
        for f, c in zip(features, labels)
    ]


def gallery_of_rank(features, labels, size):
    """Gallery of the images rank, rank + ranks, ... of ``size``."""
    count = len(features)
    placing = place_samples([None] * count, [True] * count, size)
    return Gallery.placed(features, labels, None, placing, ())


def score(metric, gallery, queries, rank=0, ranks=1):
    """Evaluate a metric with a rank's share of the gallery and the queries.

    Args:
        metric: Of a gallery.
        gallery: Features (G, D), and labels (G,) or None.
        queries: All samples.
    """

    def deal(size):
        """Rounded up: the first ones come again at the end."""
        rounded = -(-size // ranks) * ranks
        return [i % size for i in range(rank, rounded, ranks)]

    features, labels = gallery
    own = deal(len(features))
    labels = None if labels is None else labels[own]
    metric.set_gallery(gallery_of_rank(features[own], labels, len(features)))
    metric.process(None, [queries[i] for i in deal(len(queries))])
    result = metric.evaluate(len(queries))
    assert metric.gallery is None
    return result


def score_rank(rank, folder, make):
    torch.save(score(*make(), rank, 2), f'rank{rank}.pth')


def score_alike(two_ranks, folder, make):
    """The scores of one rank, which two must give as well.

    Args:
        make: Gives metric, gallery and queries.
    """
    folder.mkdir(exist_ok=True)
    two_ranks(score_rank, folder, make)
    wanted = score(*make())
    for rank in range(2):
        assert torch.load(folder / f'rank{rank}.pth') == wanted
    return wanted
