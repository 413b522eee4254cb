"""The centerings that work on one batch, against the paper's few lines."""
from functools import partial

import pytest
import torch

from mmdino.models import DINOLoss, MeanCentering, NoCentering, SinkhornKnopp
from tests.ranks import run_ranks

ONE_ITERATION = partial(SinkhornKnopp, num_iters=1)
CENTERINGS = [ONE_ITERATION, NoCentering, SinkhornKnopp]
TEMP, K = .1, 12


def plain_sinkhorn(logits, temp, num_iters):
    """As appendix B writes it: x is images by prototypes."""
    x = torch.exp(logits.reshape(-1, logits.shape[-1]) / temp)
    for _ in range(num_iters):
        x = x / x.sum(0, keepdim=True)
        x = x / x.sum(1, keepdim=True)
    return x.view_as(logits)


def plain_batch_softmax(logits, temp):
    """Softmax over the images, divided by its sum over the prototypes."""
    x = torch.softmax(logits.reshape(-1, logits.shape[-1]) / temp, 0)
    return (x / x.sum(1, keepdim=True)).view_as(logits)


PLAIN = {
    SinkhornKnopp: lambda x: plain_sinkhorn(x, TEMP, 3),
    ONE_ITERATION: lambda x: plain_batch_softmax(x, TEMP),
    NoCentering: lambda x: torch.softmax(x / TEMP, -1),
}


def build(centering):
    centering = centering(out_dim=K)
    centering.temperature = TEMP
    return centering


def some_logits(seed=0, views=2, images=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        views, images, K, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize('centering', CENTERINGS)
def test_equals_the_plain_formula(centering):
    """Also the student's gradient through the loss."""
    logits, student = some_logits(), some_logits(1, views=4)
    student.requires_grad_()
    targets = build(centering)(logits)
    assert targets.dtype == torch.float64
    expected = PLAIN[centering](logits)
    torch.testing.assert_close(targets, expected, rtol=0, atol=1e-12)
    grads = [
        torch.autograd.grad(DINOLoss()(student, q), student)[0]
        for q in (targets, expected)
    ]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-12)


@pytest.mark.parametrize('centering', CENTERINGS)
def test_targets_are_distributions_at_any_scale(centering):
    for scale in (1e-3, 1., 1e3):
        targets = build(centering)(scale * some_logits().float())
        assert targets.isfinite().all() and (targets >= 0).all()
        torch.testing.assert_close(targets.sum(-1), torch.ones(2, 6))


@pytest.mark.parametrize('scale', [1., 30., 1e3])
def test_sinkhorn_beyond_the_range_of_exp(scale):
    """As in logarithms throughout, in float64."""
    logits = scale * some_logits()
    scores = logits.flatten(0, 1) / TEMP
    for _ in range(3):
        scores = (scores - scores.logsumexp(0)).log_softmax(-1)
    for dtype, atol in ((torch.float32, 2e-4), (torch.float64, 1e-10)):
        targets = build(SinkhornKnopp)(logits.to(dtype)).flatten(0, 1)
        torch.testing.assert_close(
            targets.double(), scores.exp(), rtol=0, atol=atol)


def test_prototypes_are_used_alike():
    """However much the logits prefer one; the others let it be."""
    logits = some_logits()
    logits[..., 0] += 2.
    centering = SinkhornKnopp(K, num_iters=100)
    centering.temperature = .5
    shares = centering(logits).mean((0, 1))
    torch.testing.assert_close(
        shares, torch.full_like(shares, 1 / K), rtol=0, atol=1e-6)
    assert build(NoCentering)(logits).mean((0, 1))[0] > .6


@pytest.mark.parametrize('centering', CENTERINGS)
@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16])
def test_halves_are_computed_in_float32(centering, dtype):
    logits = some_logits().to(dtype)
    targets = build(centering).to(dtype)(logits)
    assert targets.dtype == torch.float32
    assert torch.equal(targets, build(centering)(logits.float()))


@pytest.mark.parametrize('centering', CENTERINGS)
def test_keeps_nothing(centering):
    """Neither in the checkpoint nor from one step to the next."""
    centering = build(centering).train()
    first = centering(some_logits().requires_grad_())
    centering.update()
    centering.discard()
    assert torch.equal(centering(some_logits()), first)
    assert not centering.state_dict()
    assert not first.requires_grad


def on_unequal_ranks(rank, folder):
    """All rows on the first rank, or nearly all."""
    rows = some_logits().flatten(0, 1)
    for first in (len(rows), len(rows) - 1):
        own = rows[:first] if rank == 0 else rows[first:]
        for centering in CENTERINGS:
            expected = PLAIN[centering](rows)
            expected = expected[:first] if rank == 0 else expected[first:]
            torch.testing.assert_close(
                build(centering)(own), expected, rtol=0, atol=1e-12)
        mean = MeanCentering(K).double()
        mean(own)
        mean.update()
        torch.testing.assert_close(mean.center[0], .1 * rows.mean(0))


def test_a_rank_may_have_no_row(tmp_path):
    run_ranks(on_unequal_ranks, tmp_path)


@pytest.mark.parametrize('centering', CENTERINGS)
def test_no_row_at_all(centering):
    assert build(centering)(torch.empty(0, K)).shape == (0, K)


def on_ranks(rank, folder):
    logits = some_logits()
    own = logits[:, 3 * rank:3 * rank + 3]
    for centering in CENTERINGS:
        expected = PLAIN[centering](logits)[:, 3 * rank:3 * rank + 3]
        torch.testing.assert_close(
            build(centering)(own), expected, rtol=0, atol=1e-12)


def test_two_ranks_equal_one_with_all_images(tmp_path):
    run_ranks(on_ranks, tmp_path)


def test_bad_number_of_iterations():
    with pytest.raises(ValueError, match='num_iters must be >= 1, got 0'):
        SinkhornKnopp(4, num_iters=0)
