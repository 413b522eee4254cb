import pytest
import torch

from mmdino.models import DINOHead
from mmdino.registry import MODELS
from mmdino.weights import CheckpointError
from tests import golden
from tests.tiny import model_cfg


@pytest.mark.parametrize(
    'path', golden.files('head*.npz'), ids=lambda p: p.stem)
def test_parity_with_the_authors(path):
    data = golden.load(path)
    state = golden.state(data, 'state.')
    head = MODELS.build(
        dict(
            golden.head_cfg(state),
            norm_last_layer='grad.last_layer.weight_g' not in data)).double()
    head.load_state_dict(state)
    features = torch.from_numpy(data['input']).requires_grad_()
    logits = head(features)
    (logits * torch.from_numpy(data['weight'])).sum().backward()

    close = dict(rtol=0, atol=1e-10)
    torch.testing.assert_close(logits, torch.from_numpy(data['output']),
                               **close)
    torch.testing.assert_close(features.grad,
                               torch.from_numpy(data['input_grad']), **close)
    grads = golden.state(data, 'grad.')
    params = dict(head.named_parameters())
    assert grads and set(grads) <= set(params)
    for name, grad in grads.items():
        torch.testing.assert_close(params[name].grad, grad, **close)


def test_reads_the_authors_key_names():
    head = DINOHead(8, out_dim=16, hidden_channels=8, bottleneck_channels=4)
    state = {
        k.replace('parametrizations.weight.original0', 'weight_g').replace(
            'parametrizations.weight.original1', 'weight_v'):
        v + 1
        for k, v in head.state_dict().items()
    }
    assert 'last_layer.weight_g' in state
    head.load_state_dict(state)
    assert torch.equal(head.last_layer.parametrizations.weight.original1.data,
                       state['last_layer.weight_v'])


@pytest.mark.parametrize('norm_last_layer', [True, False])
def test_prototypes_have_unit_norm_at_the_start(norm_last_layer):
    head = DINOHead(8, out_dim=16, norm_last_layer=norm_last_layer)
    head.init_weights()
    norms = head.last_layer.weight.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(16))
    gain = head.last_layer.parametrizations.weight.original0
    assert gain.requires_grad != norm_last_layer


def test_initialisation():
    head = DINOHead(64, out_dim=512, hidden_channels=512)
    head.init_weights()
    assert abs(head.mlp[0].weight.std() - .02) < 1e-3
    assert not head.mlp[0].bias.any()
    directions = head.last_layer.parametrizations.weight.original1
    assert abs(directions.abs().max() - 256**-0.5) < 1e-3  # nn.Linear's


def test_batch_norm_and_depth():
    head = DINOHead(8, 16, num_layers=4, use_bn=True)
    kinds = [type(m).__name__ for m in head.mlp]
    assert kinds == ['Linear', 'BatchNorm1d', 'GELU'] * 3 + ['Linear']
    single = DINOHead(8, 16, num_layers=1)
    assert [type(m).__name__ for m in single.mlp] == ['Linear']


def test_pretrained_weights_are_loaded_whole(tmp_path):
    model = MODELS.build(model_cfg())
    model.init_weights()
    state = dict(model.state_dict())
    path = str(tmp_path / 'x.pth')
    torch.save(dict(state_dict=state), path)
    cfg = dict(type='Pretrained', checkpoint=path, prefix='head.')
    other = MODELS.build(model_cfg(head__init_cfg=cfg))
    other.init_weights()
    for head in (other.head, other.teacher.head):
        for name, value in head.state_dict().items():
            assert torch.equal(value, state[f'head.{name}'])
    del state['head.mlp.0.bias']
    torch.save(dict(state_dict=state), path)
    with pytest.raises(CheckpointError, match='mlp.0.bias'):
        MODELS.build(model_cfg(head__init_cfg=cfg)).init_weights()
    del cfg['prefix']
    with pytest.raises(ValueError, match="no prefix: name .* prefix='head.'"):
        MODELS.build(model_cfg(head__init_cfg=cfg)).init_weights()


@pytest.mark.parametrize('name', ['in_channels', 'out_dim', 'num_layers'])
def test_bad_sizes(name):
    sizes = dict(dict(in_channels=8, out_dim=8), **{name: 0})
    with pytest.raises(ValueError, match=f'{name} must be a positive .* 0'):
        DINOHead(**sizes)
