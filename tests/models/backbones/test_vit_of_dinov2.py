"""What a ViT of DINOv2 has more than one of DINO."""
import pytest
import torch

from mmdino.models import VisionTransformer, WindowedVisionTransformer
from mmdino.registry import MODELS
from tests import golden

FILES = golden.files('v2_vit_*.npz', golden.GOLDEN_V2)
TINY = dict(
    arch=dict(
        embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=96),
    img_size=32,
    patch_size=8)
V2 = dict(
    TINY,
    num_registers=2,
    with_mask_token=True,
    layer_scale_init_value=1e-5,
    cls_token_std=1e-6)


def network(cls=VisionTransformer, **kwargs):
    """With weights of which each matters."""
    vit = cls(**dict(V2, **kwargs))
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=.3)
    vit.eval()
    return vit


def authors_vit(data):
    """Of a golden file; of the heads, if it does not tell them, that fit."""
    told, width = golden.settings(data), data['state.cls_token'].shape[-1]
    divisors = (h for h in range(1, width + 1) if width % h == 0)
    size = next(k.partition('.')[0] for k in data if k.endswith('.input'))
    images, wanted = (
        torch.from_numpy(data[f'{size}.{name}'])
        for name in ('input', 'x_norm_clstoken'))
    for heads in [told.get('num_heads', 3), *divisors]:
        if width % heads:
            continue
        cfg, state = golden.v2_vit(data, **dict(told, num_heads=heads))
        vit = MODELS.build(cfg).double()
        vit.load_state_dict(state)
        vit.eval()
        if 'num_heads' in told or vit(images)[0].allclose(wanted):
            break
    return vit


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
@torch.no_grad()
def test_parity_with_the_authors(path):
    data = golden.load(path)
    vit = authors_vit(data)
    close = dict(rtol=0, atol=1e-8)
    sizes = [k.partition('.')[0] for k in data if k.endswith('.input')]
    assert sizes
    for size in sizes:
        values = {
            k[len(size) + 1:]: torch.from_numpy(v)
            for k, v in data.items() if k.startswith(f'{size}.')
        }
        images, mask = values['input'], values['masks']
        h, w = vit.patch_grid(images)
        assert h * w == mask.shape[1]
        for kind, given in (('', None), ('masked_', mask)):
            tokens = vit.tokens(images, given)
            parts = tokens.split([1, vit.num_registers, h * w], dim=1)
            for name, part in zip(('clstoken', 'regtokens', 'patchtokens'),
                                  parts):
                wanted = values[f'{kind}x_norm_{name}'].view_as(part)
                torch.testing.assert_close(part, wanted, **close)
        n = sum(key.endswith('.cls') for key in values)
        for i, tokens in enumerate(vit.last_blocks(images, n)):
            patches = tokens[:, vit.num_extra_tokens:]
            for name, part in (('cls', tokens[:, 0]), ('patches', patches)):
                torch.testing.assert_close(part, values[f'layer{i}.{name}'],
                                           **close)


@pytest.mark.parametrize('cls', [VisionTransformer, WindowedVisionTransformer])
def test_a_mask_of_zeros_is_no_mask(cls):
    vit = network(
        cls,
        **(dict(window_size=3, global_blocks=(1, ))
           if cls != VisionTransformer else {}))
    images = torch.randn(2, 3, 32, 48)
    none = torch.zeros(2, 24, dtype=torch.bool)
    assert vit.tokens(images).shape == (2, 1 + 2 + 24, 24)
    assert vit.tokens(images, none).equal(vit.tokens(images))
    some = none.clone()
    some[0, 5] = True
    masked = vit.tokens(images, some)
    assert masked[1].equal(vit.tokens(images)[1])
    assert not masked[0].equal(vit.tokens(images)[0])


def test_masked_patches_are_not_seen():
    vit = network()
    images = torch.randn(1, 3, 32, 32)
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[0, 6] = True  # the second row's third
    other = images.clone()
    other[:, :, 8:16, 16:24] = 0
    assert vit.tokens(images, mask).equal(vit.tokens(other, mask))
    assert not vit.tokens(images).equal(vit.tokens(other))


@pytest.mark.parametrize('given', [None, 0, 3])
def test_the_mask_token_always_gets_a_gradient(given):
    vit = network()
    mask = None
    if given is not None:
        mask = torch.zeros(2, 16, dtype=torch.bool)
        mask[:, :given] = True
    vit.tokens(torch.randn(2, 3, 32, 32), mask).square().sum().backward()
    assert vit.mask_token.grad.any() == bool(given)
    assert vit.register_tokens.grad.any()


def test_registers_have_no_position():
    vit = network()
    assert vit.pos_embed.shape == (1, 1 + 16, 24)
    tokens, grid = vit.embed(torch.randn(1, 3, 32, 32))
    assert tokens[:, 1:3].equal(vit.register_tokens) and grid == (4, 4)
    assert tokens[:, 0].equal(vit.cls_token[:, 0] + vit.pos_embed[:, 0])


def test_what_a_module_around_it_calls():
    vit = network(out_type='featmap', out_indices=[0, 1])
    images = torch.randn(2, 3, 32, 48)
    mask = torch.rand(2, 24) < .5
    tokens, = vit(images, mask, out_type='raw')
    assert tokens.equal(vit.tokens(images, mask))
    assert vit(images, mask, 'cls_token')[0].equal(tokens[:, 0])
    first, last = vit(images, mask)
    assert first.shape == last.shape == (2, 24, 4, 6)
    patches = tokens[:, 3:].unflatten(1, (4, 6)).permute(0, 3, 1, 2)
    assert last.equal(patches)
    seen = []
    vit.register_forward_pre_hook(lambda *args: seen.append(args))
    vit.tokens(images, mask)
    assert len(seen) == 1  # what wraps forward is not passed by
    with pytest.raises(ValueError, match="'featmap', got 'avg_featmap'"):
        vit(images, out_type='avg_featmap')


def test_maps_without_a_map_type_of_its_own():
    images = torch.randn(2, 3, 32, 48)
    featmap = network(out_type='featmap')
    vit = network()
    vit.load_state_dict(featmap.state_dict())
    assert vit(images, out_type='featmap')[0].equal(featmap(images)[0])


def test_attention_with_registers():
    vit = network()
    images = torch.randn(2, 3, 32, 48)
    attention = vit.last_attention(images)
    assert attention.shape == (2, 3, 27, 27)
    maps = vit.class_attention(images)
    assert maps.shape == (2, 3, 4, 6)
    torch.testing.assert_close(maps.flatten(2), attention[:, :, 0, 3:])
    with vit.recorded_attention() as recorded:
        vit.tokens(images)
    assert recorded[0].equal(maps)


def test_windows_with_registers():
    images = torch.randn(2, 3, 32, 48)
    windowed = network(
        WindowedVisionTransformer, window_size=6, global_blocks=())
    plain = network()
    plain.load_state_dict(windowed.state_dict())
    torch.testing.assert_close(windowed.tokens(images), plain.tokens(images))
    windowed.window_size = 3
    x, grid = windowed.embed(images)
    y = windowed.run_block(0, x, grid)
    corner = x.unflatten(1, (27, 1))[:, :, 0]
    patches = x[:, 3:].unflatten(1, grid)
    extra = []
    for top, bottom in ((0, 2), (2, 4)):
        for left, right in ((0, 3), (3, 6)):
            part = patches[:, top:bottom, left:right].flatten(1, 2)
            out = windowed.layers[0](torch.cat([corner[:, :3], part], 1))
            torch.testing.assert_close(
                y[:, 3:].unflatten(1, grid)[:, top:bottom, left:right],
                out[:, 3:].unflatten(1, (2, 3)))
            extra.append(out[:, :3])
    torch.testing.assert_close(y[:, :3], torch.stack(extra).mean(0))
    maps = windowed.class_attention(images)
    assert maps.shape == (2, 3, 4, 6) and (maps.sum((2, 3)) < 1).all()


def test_layer_depths_of_tokens():
    vit = network()
    for name in ('cls_token', 'register_tokens', 'mask_token', 'pos_embed',
                 'patch_embed.projection.weight'):
        assert vit.get_layer_depth(name) == (0, 4)
        assert vit.get_layer_depth(f'backbone.{name}', 'backbone.') == (0, 4)
    assert vit.get_layer_depth('layers.1.ffn.gamma2.weight') == (2, 4)
    assert vit.get_layer_depth('ln1.weight') == (3, 4)
    assert vit.get_layer_depth('head.mask_token', 'backbone.') == (3, 4)


def test_frozen_tokens():
    vit = VisionTransformer(**V2, frozen_stages=1)
    vit.train()
    assert not vit.mask_token.requires_grad
    assert not vit.register_tokens.requires_grad
    assert vit.ln1.weight.requires_grad and not vit.layers[0].training


def test_initialisation():
    vit = VisionTransformer(**dict(V2, num_registers=64))
    vit.init_weights()
    assert .5e-6 < vit.cls_token.std() < 2e-6
    assert .9e-6 < vit.register_tokens.std() < 1.1e-6
    assert not vit.mask_token.any()
    assert vit.pos_embed.std() > .015
    for gamma in (vit.layers[1].attn.gamma1, vit.layers[1].ffn.gamma2):
        assert (gamma.weight == 1e-5).all()


SWIGLU = dict(ffn_type='swiglu_fused')


@pytest.mark.parametrize('layer_cfgs', [{}, SWIGLU, [SWIGLU, {}]])
@pytest.mark.parametrize('uniform', [True, False])
def test_rates_of_stochastic_depth(uniform, layer_cfgs):
    vit = VisionTransformer(
        **V2,
        drop_path_rate=.4,
        drop_path_uniform=uniform,
        layer_cfgs=layer_cfgs)
    for layer, rate in zip(vit.layers, [.4, .4] if uniform else [0., .4]):
        for drop in (layer.attn.out_drop, layer.ffn.dropout_layer):
            assert drop.drop_prob == rate and type(drop.drop_prob) is float
    names = vit.state_dict().keys()
    assert not any('drop' in name for name in names)


def test_a_layers_own_rate_comes_first():
    vit = VisionTransformer(
        **V2,
        drop_path_rate=.4,
        drop_path_uniform=True,
        layer_cfgs=[{}, dict(drop_path_rate=.1)])
    rates = [layer.attn.out_drop.drop_prob for layer in vit.layers]
    assert rates == [.4, .1]


@torch.no_grad()
def test_stochastic_depth_of_swiglu_keeps_the_mean():
    vit = network(drop_path_rate=.3, drop_path_uniform=True, layer_cfgs=SWIGLU)
    ffn, x = vit.layers[0].ffn, torch.randn(1, 4, 24).expand(4000, -1, -1)
    wanted = ffn(x[:1], identity=x[:1])[0]
    ffn.train()
    outs = ffn(x, identity=x)
    dropped = (outs == x).all(2).all(1)
    assert abs(dropped.float().mean() - .3) < .03
    torch.testing.assert_close(outs.mean(0), wanted, rtol=.05, atol=.05)


def test_width_of_swiglu():
    ffn = network(layer_cfgs=SWIGLU).layers[0].ffn
    assert ffn.w12.weight.shape == (2 * 64, 24)
    assert ffn.w3.weight.shape == (24, 64)


def test_errors():
    images = torch.zeros(2, 3, 32, 32)
    mask = torch.zeros(2, 16, dtype=torch.bool)
    with pytest.raises(ValueError, match='no mask token.*with_mask_token'):
        VisionTransformer(**TINY).tokens(images, mask)
    vit = network()
    for wrong in (mask[:, :9], mask.int(), mask[:1], mask.view(2, 4, 4)):
        with pytest.raises(
                ValueError, match=r'bool of shape \(2, 16\).*got torch'):
            vit.tokens(images, wrong)
    with pytest.raises(ValueError, match='num_registers must be .* got -1'):
        VisionTransformer(**TINY, num_registers=-1)
    with pytest.raises(ValueError, match='drop_rate=0.1, but SwiGLU has no'):
        VisionTransformer(**TINY, layer_cfgs=SWIGLU, drop_rate=.1)
