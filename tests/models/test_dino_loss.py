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
    loss = DINOLoss(float(values['student_temp']))(values['student'],
                                                   centering(
                                                       values['teacher']))
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
    assert DINOLoss()(student, targets) == 0


def test_uniform_outputs_cost_ln_k():
    uniform = torch.full((2, 3, 8), 1 / 8)
    torch.testing.assert_close(DINOLoss()(torch.zeros(4, 3, 8), uniform),
                               torch.tensor(8.).log())


def test_a_forward_of_ones_own_vouches_for_nothing_else():
    """A subclass's chunks would otherwise leave out what it changes."""

    class Other(DINOLoss):

        def forward(self, student, targets):
            return super().forward(student, targets**2)

    class Renamed(DINOLoss):
        pass

    class Whole(Other):
        is_cross_entropy = True

        def from_vectors(self, vectors, weight, targets, images_per_chunk):
            return super(Other, self).from_vectors(vectors, weight, targets**2,
                                                   images_per_chunk)

    assert not Other.is_cross_entropy and Other.from_vectors is None
    assert Renamed.is_cross_entropy and Renamed.from_vectors is not None
    assert Whole.is_cross_entropy and Whole.from_vectors is not None


def test_float32_under_autocast():
    student = torch.randn(3, 2, 16, dtype=torch.bfloat16)
    targets = torch.rand(2, 2, 16).softmax(-1)
    with torch.autocast('cpu', torch.bfloat16):
        loss = DINOLoss()(student, targets)
    expected = DINOLoss()(student.double(), targets.double())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)


def test_errors():
    with pytest.raises(ValueError, match='student_temp must be > 0, got 0'):
        DINOLoss(student_temp=0)
    with pytest.raises(ValueError, match='got 1 student and 1 teacher'):
        DINOLoss()(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))
