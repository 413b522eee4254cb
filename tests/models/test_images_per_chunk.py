"""The last layer and the loss, some images at a time."""
import pytest
import torch
from mmengine.registry import MODELS

from mmdino.functional.losses import chunked_cross_entropy, dino_cross_entropy
from mmdino.models import DINOHead, DINOLoss
from tests.tiny import RandomViews, model_cfg


def pairs_one_by_one(student, targets, temp):
    losses = [
        -(q * (p / temp).log_softmax(-1)).sum(-1).mean()
        for t, q in enumerate(targets) for s, p in enumerate(student) if s != t
    ]
    return sum(losses) / len(losses)


@pytest.mark.parametrize('num_targets', [1, 2, 3])
def test_loss_and_gradient_are_those_of_the_pairs(num_targets):
    student = torch.randn(4, 5, 16, dtype=torch.float64, requires_grad=True)
    # no distributions: what a loss of a user's own may pass
    targets = torch.rand(num_targets, 5, 16, dtype=torch.float64)
    results = [(loss, *torch.autograd.grad(3 * loss, student))
               for loss in (pairs_one_by_one(student, targets, .1),
                            dino_cross_entropy(student, targets, .1))]
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


@pytest.mark.parametrize('images_per_chunk', [1, 2, 5, 9])
def test_chunks_equal_the_whole(images_per_chunk):
    vectors = torch.randn(4, 5, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(16, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.rand(2, 5, 16, dtype=torch.float64).softmax(-1)
    results = [
        (loss, *torch.autograd.grad(3 * loss, (vectors, weight)))
        for loss in (dino_cross_entropy(vectors @ weight.t(), targets, .1),
                     chunked_cross_entropy(vectors, weight, targets, .1,
                                           images_per_chunk))
    ]
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


@pytest.mark.parametrize('predictor', [
    None,
    dict(type='Predictor', hidden_channels=8),
])
def test_model_equals_the_whole(predictor, float64):
    """Loss, monitors, every gradient, and the centre."""
    views = [RandomViews(6)[i]['inputs'] for i in range(6)]
    views = [torch.stack(v).double() / 64 - 2 for v in zip(*views)]
    plain, chunked = (
        MODELS.build(
            model_cfg(
                head__norm_last_layer=False,
                predictor=predictor,
                images_per_chunk=number)) for number in (None, 4))
    plain.init_weights()
    chunked.load_state_dict(plain.state_dict())
    results = []
    for model in (plain, chunked):
        losses = model.train().loss(views)
        losses['loss'].backward()
        model.centering.update()
        results.append((losses, {
            name: param.grad
            for name, param in model.named_parameters()
        }, model.centering.center))
    # Gradients reach thousands: of them a few last digits.
    torch.testing.assert_close(*results, rtol=1e-14, atol=1e-12)


@MODELS.register_module(force=True)
class SharperLoss(DINOLoss):

    def forward(self, student, targets):
        return super().forward(student, targets**2)


@MODELS.register_module(force=True)
class BiasedHead(DINOHead):

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.last_layer = torch.nn.Linear(16, self.out_dim)


@pytest.mark.parametrize('change, message', [
    (dict(head__type='BiasedHead'), 'no bias.*BiasedHead has a bias'),
    (dict(images_per_chunk=0), 'at least 1, got 0'),
    (dict(loss__type='SharperLoss'), 'from_vectors.*SharperLoss defines none'),
    (dict(loss__type='mmdino.MSELoss'), 'from_vectors.*MSELoss defines none'),
    (dict(head=dict(type='mmdino.MLPHead', out_dim=8)),
     'images_per_chunk needs a head.*MLPHead has no project'),
])
def test_errors(change, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(model_cfg(**{'images_per_chunk': 4, **change}))
