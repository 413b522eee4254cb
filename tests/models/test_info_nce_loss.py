import math

import pytest
import torch
import torch.nn.functional as F

from mmdino.models import InfoNCELoss
from tests.ranks import run_ranks


def plain_info_nce(student, targets, temp):
    """The formula, pair by pair, with torch's cross-entropy."""
    losses = []
    for t, q in enumerate(targets):
        for s, logits in enumerate(student):
            if s != t:
                similarities = logits @ q.T / temp
                own = torch.arange(len(q))
                losses.append(F.cross_entropy(similarities, own))
    return sum(losses) / len(losses)


def case(views=4, images=6):
    generator = torch.Generator().manual_seed(0)
    double = dict(generator=generator, dtype=torch.float64)
    student = torch.randn(views, images, 16, **double)
    return student.requires_grad_(), torch.randn(2, images, 16,
                                                 **double).softmax(-1)


@pytest.mark.parametrize('views', [2, 5])
def test_equals_the_plain_formula(views):
    student, targets = case(views)
    loss = InfoNCELoss(.2)(student, targets)
    expected = plain_info_nce(student, targets, .2)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    grads = [torch.autograd.grad(v, student)[0] for v in (loss, expected)]
    assert grads[1].abs().max() > 1e-3
    torch.testing.assert_close(*grads, rtol=0, atol=1e-12)


def test_is_the_cross_entropy_compared_with_other_images():
    """Minus the cross-entropies as similarities give the same loss."""
    student, targets = case(views=2)
    log_p = (student / .1).log_softmax(-1)
    scores = log_p[1] @ targets[0].T, log_p[0] @ targets[1].T
    own = torch.arange(6)
    expected = sum(F.cross_entropy(score, own) for score in scores) / 2
    torch.testing.assert_close(InfoNCELoss()(student, targets), expected)


def test_equal_targets_cost_ln_n():
    """Nothing tells 5 images apart: the loss is that of guessing."""
    student = torch.randn(3, 5, 8)
    targets = torch.eye(8)[:1].expand(2, 5, 8)
    loss = InfoNCELoss()(student, targets)
    torch.testing.assert_close(loss, torch.tensor(math.log(5)))


def on_ranks(rank, folder):
    """Losses and gradients of the ranks' images average to those of all."""
    student, targets = case()
    whole = InfoNCELoss()
    expected = plain_info_nce(student, targets, .1)
    grad, = torch.autograd.grad(expected, student)
    own = slice(3 * rank, 3 * rank + 3)
    part = student.detach()[:, own].requires_grad_()
    loss = whole(part, targets[:, own])
    loss.backward()
    torch.testing.assert_close(part.grad / 2, grad[:, own], rtol=0, atol=1e-12)
    mean = loss.detach().clone()
    torch.distributed.all_reduce(mean)
    torch.testing.assert_close(mean / 2, expected.detach(), rtol=0, atol=1e-12)


def test_two_ranks_equal_one_with_all_images(tmp_path):
    run_ranks(on_ranks, tmp_path)


def test_errors():
    with pytest.raises(ValueError, match='InfoNCELoss: student_temp must'):
        InfoNCELoss(student_temp=0)
    with pytest.raises(ValueError, match='got 1 student and 1 teacher'):
        InfoNCELoss()(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))
