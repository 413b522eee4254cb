import pytest
import torch
import torch.nn.functional as F

from mmdino.models import DINOHead, MLPHead


def test_equals_the_plain_formula():
    head = MLPHead(8, out_dim=16, hidden_channels=12, num_layers=3).double()
    head.init_weights()
    state = dict(head.named_parameters())
    assert len(state) == 5
    x = torch.randn(4, 8, dtype=torch.float64, requires_grad=True)
    hidden = F.gelu(x @ state['mlp.0.weight'].T + state['mlp.0.bias'])
    hidden = F.gelu(hidden @ state['mlp.2.weight'].T + state['mlp.2.bias'])
    expected = hidden @ state['last_layer.weight'].T
    torch.testing.assert_close(head(x), expected, rtol=0, atol=1e-12)
    grads = [
        torch.autograd.grad(v.square().sum(), x)[0]
        for v in (head(x), expected)
    ]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-12)


@pytest.mark.parametrize('head', [MLPHead, DINOHead])
@pytest.mark.parametrize('depth', [1, 2, 3, 4])
@pytest.mark.parametrize('use_bn', [True, False])
@pytest.mark.parametrize('act', ['GELU', 'ReLU'])
def test_variants(head, depth, use_bn, act):
    built = head(
        8, 16, 12, num_layers=depth, use_bn=use_bn, act_cfg=dict(type=act))
    built.init_weights()
    kinds = [type(m).__name__ for m in built.mlp]
    hidden = ['Linear', *['BatchNorm1d'] * use_bn, act] * (depth - 1)
    assert kinds == hidden + ['Linear'] * (head is DINOHead)
    assert built(torch.randn(4, 8)).shape == (4, 16)


def test_float32_under_autocast():
    head = MLPHead(8, 16, 12)
    features = torch.randn(4, 8).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        logits = head(features)
    assert torch.equal(logits, head(features.float()))


def test_bad_sizes():
    with pytest.raises(ValueError, match='MLPHead: num_layers must be .* 0'):
        MLPHead(8, num_layers=0)
