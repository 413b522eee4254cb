import pytest
import torch
import torch.nn as nn

from mmdino.engine.optim import PerParameterClipBFloat16OptimWrapper, clipping


def step(wrapper, model):
    with wrapper.optim_context(model):
        out = model(torch.ones(2, 4))
    wrapper.update_params(out.float().square().sum())
    return out


@pytest.mark.parametrize('units', [True, False])
def test_runs_in_bfloat16_and_warns_once_without_units(monkeypatch, units):
    monkeypatch.setattr(clipping, 'has_bf16_units', lambda device: units)
    warnings = []
    monkeypatch.setattr(clipping, 'print_log',
                        lambda text, **kwargs: warnings.append(text))
    model = nn.Linear(4, 4)
    wrapper = PerParameterClipBFloat16OptimWrapper(
        torch.optim.SGD(model.parameters(), lr=1.),
        clip_grad=dict(max_norm=1e-3))
    before = model.weight.detach().clone()
    outs = [step(wrapper, model) for _ in range(2)]
    assert all(out.dtype == torch.bfloat16 for out in outs)
    assert model.weight.dtype == torch.float32
    # clipped by itself: two steps of length 1e-3 at most
    assert 0 < (model.weight - before).norm() <= 2.001e-3
    assert len(warnings) == (0 if units else 1)
    assert all('no hardware for bfloat16' in text for text in warnings)


def test_knows_the_units_of_this_machine():
    assert isinstance(clipping.has_bf16_units(torch.device('cpu')), bool)
    assert clipping.has_bf16_units(torch.device('meta'))
