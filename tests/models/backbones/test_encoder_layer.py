"""Blocks that run on a subset of the images, and that keep less."""
from itertools import combinations, permutations

import pytest
import torch

from mmdino.models import VisionTransformer, WindowedVisionTransformer
from mmdino.models.backbones.encoder_layer import EncoderLayer, add_of_subset

SWIGLU = dict(ffn_type='swiglu_fused')
V2 = dict(
    arch=dict(
        embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=96),
    img_size=32,
    patch_size=8,
    num_registers=2,
    with_mask_token=True,
    layer_scale_init_value=.1)
WINDOWS = dict(window_size=2, global_blocks=(1, ))
RANDOM = dict(drop_rate=.1, drop_path_rate=.4)


def network(cls=VisionTransformer, **kwargs):
    """In train mode, the same weights for the same parts."""
    torch.manual_seed(0)
    vit = cls(**dict(V2, **kwargs))
    vit.init_weights()
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=.3)
    return vit.double().train()


def tokens_and_gradients(vit):
    """Of masked and whole images of two sizes; random numbers of a seed."""
    torch.manual_seed(1)
    tokens = [
        vit.tokens(torch.randn(5, 3, 32, 32).double(), mask)
        for mask in (torch.rand(5, 16) < .4, None)
    ]
    tokens.append(vit.tokens(torch.randn(5, 3, 16, 16).double()))
    sum(x.sin().sum() for x in tokens).backward()
    return tokens, {n: p.grad for n, p in vit.named_parameters()}


def assert_alike(vit, other):
    ours, theirs = tokens_and_gradients(vit), tokens_and_gradients(other)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    assert all(grad is not None for grad in ours[1].values())


@pytest.mark.parametrize('rate,count', [(.3, 2), (.5, 1), (.9, 1), (0., 3)])
def test_the_mean_over_all_subsets_is_the_branch_on_all(
        rate, count, monkeypatch):
    """Of values and gradients, exactly: each subset is as likely."""
    x = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 5, dtype=torch.float64, requires_grad=True)
    sizes = []

    def branch(some):
        sizes.append(len(some))
        return (some @ weight).tanh()

    upstream = torch.randn(3, 4, 5, dtype=torch.float64)
    wanted = x + branch(x)
    wanted_grads = torch.autograd.grad(wanted, (x, weight), upstream)
    outs, orders = [], [torch.tensor(p) for p in permutations(range(3))]
    for order in orders:
        monkeypatch.setattr(torch, 'randperm', lambda n, device: order)
        outs.append(add_of_subset(x, branch, rate))
    mean = torch.stack(outs).mean(0)
    grads = torch.autograd.grad(mean, (x, weight), upstream)
    assert sizes[1:] == [count] * 6
    torch.testing.assert_close(mean, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(grads, wanted_grads, rtol=0, atol=1e-12)


def test_each_subset_is_drawn_as_often():
    x = torch.zeros(4, 1)
    torch.manual_seed(0)
    outs = [
        tuple(add_of_subset(x, torch.ones_like, .5).nonzero()[:, 0].tolist())
        for _ in range(1200)
    ]
    for pair in combinations(range(4), 2):
        assert abs(outs.count(pair) - 200) < 60
    assert add_of_subset(x, torch.ones_like, .5).unique().tolist() == [0., 2.]


@pytest.mark.parametrize('layer_cfgs', [{}, SWIGLU], ids=['mlp', 'swiglu'])
def test_a_branch_left_out_is_an_image_unchanged(layer_cfgs):
    vit = network(
        drop_path_subset=True,
        drop_path_rate=.4,
        drop_path_uniform=True,
        layer_cfgs=layer_cfgs)
    block = vit.layers[0]
    x = torch.randn(5, 7, 24, dtype=torch.float64)
    seen = []
    for part in (block.attn, block.ffn):
        part.register_forward_pre_hook(
            lambda _, args: seen.append(len(args[0])))
    torch.manual_seed(2)
    out = block(x)
    assert seen == [3, 3]
    torch.manual_seed(2)
    subsets = [torch.randperm(5)[:3] for _ in range(2)]
    chosen = subsets[0].unique().tolist() + subsets[1].unique().tolist()
    for i in range(5):
        assert out[i].equal(x[i]) == (i not in chosen)
    first = x.clone()
    first[subsets[0]] += 5 / 3 * block.attn(block.ln1(x[subsets[0]]))
    wanted = first.clone()
    wanted[subsets[1]] += 5 / 3 * block.ffn(
        block.ln2(first[subsets[1]]), identity=0.)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-12)


def test_rates_of_the_blocks():
    vit = network(drop_path_subset=True, drop_path_rate=.4)
    assert [layer.subset_rate for layer in vit.layers] == [0., .4]
    plain = network(drop_path_rate=.4)
    assert vit.state_dict().keys() == plain.state_dict().keys()
    assert not any(isinstance(b, EncoderLayer) for b in plain.layers)


@pytest.mark.parametrize('changes', [
    dict(drop_path_subset=True),
    dict(with_cp=True),
    dict(drop_path_subset=True, with_cp=True),
])
def test_nothing_differs_in_eval_mode(changes):
    vit = network(drop_path_rate=.4, **changes).eval()
    assert_alike(vit, network().eval())


@pytest.mark.parametrize(
    'changes', [
        dict(),
        RANDOM,
        dict(drop_path_subset=True, drop_path_uniform=True, **RANDOM),
        dict(
            drop_path_subset=True,
            drop_path_uniform=True,
            drop_path_rate=.4,
            layer_cfgs=SWIGLU),
        dict(cls=WindowedVisionTransformer, **WINDOWS, **RANDOM),
    ],
    ids=['plain', 'random', 'subset', 'swiglu', 'window'])
def test_gradients_of_checkpointed_blocks(changes):
    """With the random numbers of dropout and stochastic depth, too."""
    assert_alike(network(with_cp=True, **changes), network(**changes))


def test_checkpointed_blocks_keep_less():

    def kept(**changes):
        sizes = []
        vit = network(**changes)
        images = torch.randn(2, 3, 32, 32).double()
        with torch.autograd.graph.saved_tensors_hooks(
                lambda x: sizes.append(x.nbytes) or x, lambda x: x):
            vit.tokens(images)
        return sum(sizes)

    assert kept(with_cp=True) < .3 * kept()


def test_half_precision():
    vit = network(
        drop_path_subset=True, drop_path_rate=.4, with_cp=True).float()
    with torch.autocast('cpu', torch.bfloat16):
        tokens = vit.tokens(torch.randn(5, 3, 32, 32))
    tokens.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in vit.parameters())
