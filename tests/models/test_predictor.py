import pytest
import torch
import torch.nn.functional as F

from mmdino.models import Predictor
from mmdino.models.dino import vectors_of_views
from mmdino.registry import MODELS
from tests.tiny import model_cfg


def build(**changes):
    predictor = dict(type='mmdino.Predictor', hidden_channels=20)
    model = MODELS.build(model_cfg(predictor=predictor, **changes))
    model.init_weights()
    return model


def student_logits(model, views):
    features = vectors_of_views(model._student(), views)
    return model._outputs(features, len(views))


def test_predictor_equals_the_plain_formula():
    predictor = Predictor(6, hidden_channels=10).double()
    predictor.init_weights()
    first, second = predictor.mlp[0], predictor.mlp[2]
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    hidden = F.gelu(x @ first.weight.T + first.bias) @ second.weight.T
    expected = hidden / hidden.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(predictor(x), expected, rtol=0, atol=1e-12)
    grads = [
        torch.autograd.grad(v[:, 0].sum(), x)[0]
        for v in (predictor(x), expected)
    ]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-12)


def test_stands_on_the_students_bottleneck_alone():
    model = build()
    views = [torch.randn(3, 3, 32, 32) for _ in range(2)]
    plain = MODELS.build(model_cfg())
    state = model.state_dict()
    assert {k
            for k in state if 'predictor' in k} == {
                f'predictor.mlp.{layer}.{kind}'
                for layer in (0, 2)
                for kind in ('weight', 'bias')
            }
    plain.load_state_dict({
        k: v
        for k, v in state.items() if not k.startswith('predictor')
    })
    torch.testing.assert_close(
        model._teacher_logits(views), plain._teacher_logits(views))
    model.predictor.forward = lambda x: x
    torch.testing.assert_close(
        student_logits(model, views), student_logits(plain, views))


def test_trains_the_predictor_and_leaves_the_teacher_without():
    model = build()
    views = [torch.randn(3, 3, s, s) for s in (32, 32, 16)]
    model(views, mode='loss')['loss'].backward()
    assert all(p.grad.any() for p in model.predictor.parameters())
    model.update_teacher(.5)
    assert set(model.teacher) == {'backbone', 'head'}


def test_needs_a_bottleneck():
    with pytest.raises(
            ValueError, match='predictor needs.*MLPHead has no project'):
        build(head=dict(type='mmdino.MLPHead', out_dim=8, hidden_channels=8))
