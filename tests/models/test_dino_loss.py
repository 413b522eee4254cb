import numpy as np
import pytest
import torch

from mmdino.models import DINOLoss, MeanCentering
from tests import golden

DATA = golden.load(golden.files('loss.npz')[0])
CASES = sorted({k.split('.')[0] for k in DATA if k.startswith('case')})


def case(name):
    """Student (V, B, K) with gradient, teacher (T, B, K), and the rest."""
    values = {
        k.split('.')[1]: torch.from_numpy(np.asarray(v))
        for k, v in DATA.items() if k.startswith(f'{name}.')
    }
    views = int(values['num_crops'])
    values['student'] = values['student'].unflatten(
        0, (views, -1)).requires_grad_()
    values['teacher'] = values['teacher'].unflatten(0, (2, -1))
    return values


@pytest.mark.parametrize('name', CASES)
def test_parity_with_the_authors(name):
    values = case(name)
    centering = MeanCentering(values['teacher'].shape[-1]).double()
    centering.center.copy_(values['center_before'])
    centering.temperature = float(values['teacher_temp'])
    loss = DINOLoss(float(values['student_temp']))(
        values['student'], centering(values['teacher']))['loss']
    loss.backward()
    centering.update()

    close = dict(rtol=0, atol=1e-10)
    torch.testing.assert_close(loss, values['loss'], **close)
    torch.testing.assert_close(values['student'].grad.flatten(0, 1),
                               values['grad'], **close)
    torch.testing.assert_close(centering.center, values['center_after'],
                               **close)


def test_same_views_are_not_compared():
    """A student view that only its own teacher view could punish."""
    targets = torch.eye(4)[:2, None]  # view t wants prototype t
    student = torch.stack([targets[1], targets[0]]) * 1e4
    assert DINOLoss()(student, targets)['loss'] == 0


def test_monitors():
    uniform = torch.full((2, 3, 8), 1 / 8)
    out = DINOLoss()(torch.zeros(4, 3, 8, requires_grad=True), uniform)
    log8 = torch.tensor(8.).log()
    torch.testing.assert_close(out['loss'], log8)
    torch.testing.assert_close(out['teacher_entropy'], log8)
    torch.testing.assert_close(out['kl'], torch.tensor(0.))
    assert not out['kl'].requires_grad


def test_float32_under_autocast():
    student = torch.randn(3, 2, 16, dtype=torch.bfloat16)
    targets = torch.rand(2, 2, 16).softmax(-1)
    with torch.autocast('cpu', torch.bfloat16):
        loss = DINOLoss()(student, targets)['loss']
    expected = DINOLoss()(student.double(), targets.double())['loss']
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)


def test_errors():
    with pytest.raises(ValueError, match='student_temp must be > 0, got 0'):
        DINOLoss(student_temp=0)
    with pytest.raises(ValueError, match='got 1 student and 1 teacher'):
        DINOLoss()(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))
