import pytest
import torch

from mmdino.evaluation.base import GalleryMetric, SampleMetric
from mmdino.evaluation.metrics import SaveFeatures
from tests.evaluation.metrics.dealing import gallery_of_rank


class Squares(SampleMetric):
    default_prefix = 'squares'
    unit = 'number'
    needs = dict(x='give an x')

    def keep(self, sample):
        return sample['x']**2

    def compute_metrics(self, results):
        return dict(sum=sum(results))


class Farthest(GalleryMetric):
    default_prefix = 'farthest'

    def set_gallery(self, gallery):
        self.check_labels(gallery)
        self.gallery = gallery.whole()

    def compute_metrics(self, results):
        if len(results) > 1:
            raise ZeroDivisionError
        return dict(cosine=(self.gallery[0] @ results[0][0]).min().item())


def gallery(labels=(0, 1)):
    labels = None if labels is None else torch.tensor(labels)
    return gallery_of_rank(torch.eye(2), labels, 2)


def test_samples_are_reduced_to_what_is_kept():
    metric = Squares()
    metric.process(None, [dict(x=2), dict(x=3)])
    assert metric.results == [4, 9]
    assert metric.evaluate(2) == {'squares/sum': 13}
    assert metric.results == []


@pytest.mark.parametrize('sample, name', [
    (dict(img_path='cat.jpg'), 'cat.jpg'),
    (dict(sequence='kite', x=None), 'kite'),
    (dict(), 'a number'),
])
def test_a_field_that_is_missing_is_named_with_the_remedy(sample, name):
    with pytest.raises(KeyError) as error:
        Squares().process(None, [sample])
    assert error.value.args[0] == (
        f'Squares found no `x` in the sample of {name}: give an x.')


def test_nothing_to_measure():
    with pytest.raises(ValueError, match='Squares got no number'):
        Squares().evaluate(0)
    with pytest.raises(ValueError, match='SaveFeatures got no image'):
        SaveFeatures(out='x.npz').evaluate(0)


def evaluate_rank(rank, folder):
    metric = Squares()
    with pytest.raises(ValueError, match='Squares got no number'):
        metric.evaluate(0)
    metric.process(None, [dict(x=3)] * rank)
    torch.save(metric.evaluate(1), f'rank{rank}.pth')


def test_a_rank_without_samples_waits_for_the_others(tmp_path, two_ranks):
    two_ranks(evaluate_rank, tmp_path)
    for rank in range(2):
        assert torch.load(tmp_path / f'rank{rank}.pth') == {'squares/sum': 9}


def test_the_gallery_goes_after_each_evaluation():
    """Also after one that failed: the next one must not use the old one."""
    query = dict(feature=torch.tensor([3., -1.]), gt_label=torch.tensor([1]))
    metric = Farthest()
    for queries in ([query], [query, query], []):
        metric.set_gallery(gallery())
        metric.process(None, queries)
        if len(queries) == 1:
            assert metric.evaluate(1) == {'farthest/cosine': -1.}
        else:
            with pytest.raises((ZeroDivisionError, ValueError)):
                metric.evaluate(len(queries))
        assert metric.gallery is None and metric.results == []
    with pytest.raises(RuntimeError, match="Farthest has no gall.*'GalleryV"):
        metric.process(None, [query])


@pytest.mark.parametrize('labels, share', [(None, 'none'),
                                           ((0, -1), 'not each')])
def test_a_gallery_without_labels_is_refused(labels, share):
    with pytest.raises(ValueError, match=f'Farthest needs.*{share} has one'):
        Farthest().set_gallery(gallery(labels))
