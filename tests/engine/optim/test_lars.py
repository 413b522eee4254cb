import pytest
import torch

from mmdino.engine.optim import LARS


def by_hand(param, grad, mu, lr, wd, eta=.001, momentum=.9):
    """Rule by rule, for one parameter."""
    d, q = grad, 1.
    if param.ndim != 1:
        d = grad + wd * param
        if param.norm() > 0 and d.norm() > 0:
            q = eta * param.norm() / d.norm()
    mu = momentum * mu + q * d
    return param - lr * mu, mu


@pytest.mark.parametrize('start', [
    torch.randn(5, 3),
    torch.randn(7),
    torch.zeros(4, 2),
    torch.randn(2, 3, 1, 1)
])
def test_three_steps_by_hand(start):
    param = start.double().requires_grad_()
    expected, mu = param.detach().clone(), torch.zeros_like(param)
    optimizer = LARS([param], lr=.3, weight_decay=.1)
    for _ in range(3):
        param.grad = torch.randn_like(param)
        optimizer.step()
        expected, mu = by_hand(expected, param.grad, mu, .3, .1)
        torch.testing.assert_close(param.detach(), expected)


def test_parameter_without_gradient_stays():
    param = torch.ones(2, 2, requires_grad=True)
    LARS([param], lr=1., weight_decay=1.).step()
    assert torch.equal(param, torch.ones(2, 2))


def test_zero_gradient_and_no_decay():
    param = torch.ones(2, 2, requires_grad=True)
    param.grad = torch.zeros(2, 2)
    LARS([param], lr=1.).step()
    assert torch.equal(param, torch.ones(2, 2))


def test_negative_value():
    with pytest.raises(ValueError, match='lr must be >= 0, got -1'):
        LARS([torch.ones(1)], lr=-1)
