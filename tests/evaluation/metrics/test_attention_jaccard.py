import numpy as np
import pytest
import torch

from mmdino.evaluation.metrics import AttentionJaccard
from mmdino.registry import METRICS

LEFT = torch.tensor([[[1., 0.], [1., 0.]]])


def test_mean_is_over_objects_not_over_images():
    """One image with an object of index 1, one with two: (1 + .5 + 0) / 3."""
    one = np.array([[1, 0], [1, 0]], dtype=np.uint8)
    two = torch.tensor([[1, 2], [0, 2]])
    none = torch.zeros(2, 2, dtype=torch.uint8)
    metric = METRICS.build(dict(type='mmdino.AttentionJaccard'))
    metric.process(None, [
        dict(attention=LEFT.half(), gt_mask=mask) for mask in (one, two, none)
    ])
    assert metric.evaluate(3) == {'attention/jaccard': pytest.approx(.5)}


def test_a_network_that_diverged():
    sample = dict(attention=LEFT * float('nan'), gt_mask=torch.ones(2, 2))
    with pytest.raises(ValueError, match='1 of 1 attention .* diverged'):
        AttentionJaccard().process(None, [sample])


def test_errors():
    metric = AttentionJaccard()
    with pytest.raises(KeyError, match='predict_attention=True'):
        metric.process(None, [dict(gt_mask=torch.ones(2, 2))])
    with pytest.raises(KeyError, match='algorithm_keys'):
        metric.process(None, [dict(attention=LEFT)])
    metric.process(None, [dict(attention=LEFT, gt_mask=torch.zeros(2, 2))])
    with pytest.raises(ValueError, match='no object in 1 masks'):
        metric.evaluate(1)
