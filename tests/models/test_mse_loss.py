import pytest
import torch

from mmdino.models import MSELoss


def plain_mse(student, targets, temp):
    """The formula, pair by pair."""
    losses = []
    for t, q in enumerate(targets):
        for s, logits in enumerate(student):
            if s != t:
                p = torch.softmax(logits / temp, -1)
                losses.append(((q - p)**2).sum(-1).mean())
    return sum(losses) / len(losses)


@pytest.mark.parametrize('views', [2, 5])
def test_equals_the_plain_formula(views):
    student = torch.randn(views, 3, 16, dtype=torch.float64).requires_grad_()
    targets = torch.randn(2, 3, 16, dtype=torch.float64).softmax(-1)
    loss = MSELoss(.2)(student, targets)
    expected = plain_mse(student, targets, .2)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    grads = [torch.autograd.grad(v, student)[0] for v in (loss, expected)]
    assert grads[1].abs().max() > 1e-3
    torch.testing.assert_close(*grads, rtol=0, atol=1e-12)


def test_same_views_are_not_compared():
    targets = torch.eye(4)[:2, None]  # view t wants prototype t
    student = torch.stack([targets[1], targets[0]]) * 1e4
    assert MSELoss()(student, targets) == 0
    opposite = MSELoss()(student.flip(0), targets)
    torch.testing.assert_close(opposite, torch.tensor(2.))


def test_float32_under_autocast():
    student = torch.randn(3, 2, 16, dtype=torch.bfloat16)
    targets = torch.rand(2, 2, 16).softmax(-1)
    with torch.autocast('cpu', torch.bfloat16):
        loss = MSELoss()(student, targets)
    expected = plain_mse(student.double(), targets.double(), .1)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)


def test_errors():
    with pytest.raises(ValueError, match='MSELoss: student_temp must be > 0'):
        MSELoss(student_temp=0)
    with pytest.raises(ValueError, match='got 1 student and 1 teacher'):
        MSELoss()(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))
