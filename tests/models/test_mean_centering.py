import pytest
import torch

from mmdino.models import MeanCentering


def test_moves_by_the_mean_of_all_logits_since_the_last_update():
    centering = MeanCentering(8, momentum=0.9)
    first, second = torch.randn(2, 4, 8), torch.randn(2, 2, 8)
    centering(first)
    centering(second)
    centering.update()
    mean = torch.cat([first, second], 1).mean((0, 1))
    torch.testing.assert_close(centering.center, 0.1 * mean[None])
    before = centering.center.clone()
    centering.update()  # nothing collected
    assert torch.equal(centering.center, before)


def test_uses_the_old_center():
    centering = MeanCentering(4)
    logits = torch.randn(2, 3, 4)
    targets = centering(logits)
    torch.testing.assert_close(targets, (logits / .04).softmax(-1))
    torch.testing.assert_close(targets.sum(-1), torch.ones(2, 3))


def test_eval_collects_nothing():
    centering = MeanCentering(4).eval()
    centering(torch.randn(2, 3, 4))
    centering.update()
    assert not centering.center.any()


@pytest.mark.parametrize('dtype,expected', [(torch.half, torch.float32),
                                            (torch.bfloat16, torch.float32),
                                            (torch.double, torch.float64)])
def test_center_is_never_half(dtype, expected):
    centering = MeanCentering(4)
    centering.center.fill_(0.123456789)
    centering.to(dtype)
    assert centering.center.dtype == expected
    assert torch.all(centering.center == torch.tensor(0.123456789))
    assert centering(torch.randn(2, 3, 4, dtype=dtype)).dtype == expected


def test_bad_momentum():
    with pytest.raises(ValueError, match='got 1.5'):
        MeanCentering(4, momentum=1.5)


@pytest.mark.parametrize('shape', [(7, 8), (1, 7, 8), (2, 3, 4, 8)])
def test_any_leading_axes(shape):
    centering, logits = MeanCentering(8), torch.randn(shape)
    assert centering(logits).shape == shape
    centering.update()
    mean = logits.flatten(0, -2).mean(0, keepdim=True)
    torch.testing.assert_close(centering.center, 0.1 * mean)


def test_no_row_leaves_the_center():
    centering = MeanCentering(8)
    centering.center.normal_()
    before = centering.center.clone()
    assert centering(torch.empty(0, 8)).shape == (0, 8)
    assert len(centering.collected()) == 1  # as on a rank that has some
    centering.update()
    assert torch.equal(centering.center, before)


def test_collects_what_needs_no_targets():
    rows, others = torch.randn(3, 8), torch.randn(5, 8)
    centering, whole = MeanCentering(8), MeanCentering(8)
    centering(rows)
    centering.collect(others)
    whole(torch.cat([rows, others]))
    for each in (centering, whole):
        each.update()
    torch.testing.assert_close(centering.center, whole.center)
