"""Loss and head hold in half precision and with extreme logits."""
import pytest
import torch
from torch.nn import functional as F

from mmdino.models import DINOHead, DINOLoss
from mmdino.models.centerings import MeanCentering
from mmdino.models.dino import target_monitors
from tests.tiny import MODELS, model_cfg

HALVES = pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])


@HALVES
def test_the_head_is_in_float32_under_autocast(dtype):
    head = DINOHead(24, out_dim=64, hidden_channels=32, bottleneck_channels=16)
    head.init_weights()
    features = torch.randn(8, 24).to(dtype)
    expected = head(features.float())
    with torch.autocast('cpu', dtype):
        logits = head(features)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, expected)


@HALVES
def test_the_model_trains_under_autocast(dtype):
    """The loss is that of float32 up to the backbone's rounding."""
    model = MODELS.build(model_cfg())
    model.init_weights()
    views = [torch.randn(4, 3, s, s) for s in (32, 32, 16)]
    model.eval()
    expected = model(views, mode='loss')['loss']
    with torch.autocast('cpu', dtype):
        loss = model(views, mode='loss')['loss']
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=.02, atol=0)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters()
               if p.requires_grad)


def loss_of(student, teacher, center, dtype):
    centering = MeanCentering(out_dim=student.shape[-1]).to(dtype)
    centering.center.copy_(center)
    student = student.to(dtype, copy=True).requires_grad_()
    targets = centering(teacher.to(dtype))
    loss = DINOLoss().to(dtype)(student, targets)
    loss.backward()
    return dict(target_monitors(targets), loss=loss), student.grad


@pytest.mark.parametrize('scale', [1., 1e2, 1e4])
@pytest.mark.parametrize('kind', ['random', 'equal', 'opposite'])
def test_extreme_logits_equal_float64(scale, kind):
    student = scale * torch.randn(6, 4, 64)
    teacher = dict(
        random=scale * torch.randn(2, 4, 64),
        equal=student[:2],
        opposite=-student[:2])[kind]
    center = scale * torch.randn(1, 64)
    ours, grad = loss_of(student, teacher, center, torch.float32)
    exact, exact_grad = loss_of(student, teacher, center, torch.float64)
    for name, value in exact.items():
        assert ours[name].isfinite(), name
        torch.testing.assert_close(
            ours[name].double(), value, rtol=1e-5, atol=1e-5, msg=name)
    torch.testing.assert_close(grad.double(), exact_grad, rtol=1e-4, atol=1e-6)


def test_sure_views_lose_no_digits():
    """Agreeing one-hot outputs: the loss is that of the one that does not."""
    sure = F.one_hot(torch.tensor(3), 64) * 1e4
    other = F.one_hot(torch.tensor(5), 64) * 1e4
    student = torch.stack([sure, sure, sure, other])[:, None]
    losses, _ = loss_of(student, student[:2], torch.zeros(1, 64),
                        torch.float32)
    assert losses['loss'].item() == pytest.approx(1e5 * 2 / 6, rel=1e-6)
