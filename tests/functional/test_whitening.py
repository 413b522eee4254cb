import pytest
import torch

from mmdino.functional.retrieval import learn_whitening, whiten


@pytest.fixture
def features():
    mixing = torch.randn(6, 6, dtype=torch.float64)
    return torch.randn(200, 6, dtype=torch.float64) @ mixing + 3.


def test_the_covariance_becomes_the_identity(features):
    """Not centred, as learnt; the mean is subtracted when applied."""
    mean, projection = learn_whitening(features)
    projected = features @ projection.t()
    covariance = projected.t() @ projected / len(features)
    torch.testing.assert_close(covariance, torch.eye(6).double())
    assert mean.equal(features.mean(dim=0))
    white = whiten(features, learn_whitening(features))
    torch.testing.assert_close(white, (features - mean) @ projection.t())


def test_centred_features_become_white_as_numpy_sees_it(features):
    features = features - features.mean(dim=0)
    white = whiten(features, learn_whitening(features))
    torch.testing.assert_close(white.t().cov(correction=0),
                               torch.eye(6).double())


def test_fewer_images_than_features():
    """Unseen directions count as the weakest, instead of as infinite."""
    features = torch.zeros(2, 4)
    features[0, 0], features[1, 1] = 2., 1.
    mean, projection = learn_whitening(features)
    assert projection.isfinite().all()
    # second moments 4/2, 1/2, 0, 0; the floor is 1e-5 x 2
    scales = projection.norm(dim=1)
    wanted = torch.tensor([2., .5, 2e-5, 2e-5]).double().rsqrt()
    torch.testing.assert_close(scales, wanted)


@pytest.mark.parametrize('features,message', [
    (torch.zeros(0, 4), 'no image'),
    (torch.zeros(3, 4), 'all of them 0'),
    (torch.full((3, 4), float('nan')), 'not finite'),
])
def test_errors(features, message):
    with pytest.raises(ValueError, match=message):
        learn_whitening(features)
