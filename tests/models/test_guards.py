"""The guards that work on one batch, against the paper's few lines."""
import pytest
import torch

from mmdino.models import BatchSoftmax, DINOLoss, NoCentering, SinkhornKnopp
from tests.ranks import run_ranks

GUARDS = [BatchSoftmax, NoCentering, SinkhornKnopp]
TEMP, K = .1, 12


def plain_sinkhorn(logits, temp, num_iters):
    """As appendix B writes it: x is images by prototypes."""
    x = torch.exp(logits.reshape(-1, logits.shape[-1]) / temp)
    for _ in range(num_iters):
        x = x / x.sum(0, keepdim=True)
        x = x / x.sum(1, keepdim=True)
    return x.view_as(logits)


def plain_batch_softmax(logits, temp):
    x = torch.softmax(logits.reshape(-1, logits.shape[-1]) / temp, 0)
    return (x / x.sum(1, keepdim=True)).view_as(logits)


PLAIN = {
    SinkhornKnopp: lambda x: plain_sinkhorn(x, TEMP, 3),
    BatchSoftmax: lambda x: plain_batch_softmax(x, TEMP),
    NoCentering: lambda x: torch.softmax(x / TEMP, -1),
}


def build(guard):
    guard = guard(out_dim=K)
    guard.temperature = TEMP
    return guard


def some_logits(seed=0, views=2, images=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        views, images, K, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize('guard', GUARDS)
def test_equals_the_plain_formula(guard):
    """Also the student's gradient through the loss."""
    logits, student = some_logits(), some_logits(1, views=4)
    student.requires_grad_()
    targets = build(guard)(logits)
    assert targets.dtype == torch.float64
    expected = PLAIN[guard](logits)
    torch.testing.assert_close(targets, expected, rtol=0, atol=1e-12)
    grads = [
        torch.autograd.grad(DINOLoss()(student, q)['loss'], student)[0]
        for q in (targets, expected)
    ]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-12)


@pytest.mark.parametrize('guard', GUARDS)
def test_targets_are_distributions_at_any_scale(guard):
    for scale in (1e-3, 1., 1e3):
        targets = build(guard)(scale * some_logits().float())
        assert targets.isfinite().all() and (targets >= 0).all()
        torch.testing.assert_close(targets.sum(-1), torch.ones(2, 6))


def test_prototypes_are_used_alike():
    """However much the logits prefer one; the others let it be."""
    logits = some_logits()
    logits[..., 0] += 2.
    guard = SinkhornKnopp(K, num_iters=100)
    guard.temperature = .5
    shares = guard(logits).mean((0, 1))
    torch.testing.assert_close(
        shares, torch.full_like(shares, 1 / K), rtol=0, atol=1e-6)
    assert build(NoCentering)(logits).mean((0, 1))[0] > .6


def test_softmax_over_the_batch_is_one_iteration():
    one = SinkhornKnopp(K, num_iters=1)
    one.temperature = TEMP
    torch.testing.assert_close(
        one(some_logits()),
        build(BatchSoftmax)(some_logits()),
        rtol=0,
        atol=1e-12)


@pytest.mark.parametrize('guard', GUARDS)
@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16])
def test_halves_are_computed_in_float32(guard, dtype):
    logits = some_logits().to(dtype)
    targets = build(guard).to(dtype)(logits)
    assert targets.dtype == torch.float32
    assert torch.equal(targets, build(guard)(logits.float()))


@pytest.mark.parametrize('guard', GUARDS)
def test_keeps_nothing(guard):
    """Neither in the checkpoint nor from one step to the next."""
    guard = build(guard).train()
    first = guard(some_logits().requires_grad_())
    guard.update()
    guard.discard()
    assert torch.equal(guard(some_logits()), first)
    assert not guard.state_dict()
    assert not first.requires_grad


def on_ranks(rank, folder):
    logits = some_logits()
    own = logits[:, 3 * rank:3 * rank + 3]
    for guard in GUARDS:
        expected = PLAIN[guard](logits)[:, 3 * rank:3 * rank + 3]
        torch.testing.assert_close(
            build(guard)(own), expected, rtol=0, atol=1e-12)


def test_two_ranks_equal_one_with_all_images(tmp_path):
    run_ranks(on_ranks, tmp_path)


def test_bad_number_of_iterations():
    with pytest.raises(ValueError, match='num_iters must be >= 1, got 0'):
        SinkhornKnopp(4, num_iters=0)
