import pytest
import torch
from mmpretrain.models import VisionTransformer as MMPretrainViT
from mmpretrain.models.utils import MultiheadAttention

from mmdino.models import VisionTransformer
from mmdino.models.backbones.vision_transformer import resize_pos_embed
from mmdino.registry import MODELS
from tests import golden

DATA = golden.load(golden.files('vit.npz')[0])
TINY = dict(
    arch=dict(
        embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=96),
    img_size=32,
    patch_size=8)


def authors_vit():
    state = golden.state(DATA, 'state.')
    num_heads = DATA['square.attention'].shape[1]
    vit = MODELS.build(golden.vit_cfg(state, num_heads)).double()
    vit.load_state_dict(state)
    vit.eval()
    return vit


@pytest.mark.parametrize('size', ['square', 'small', 'wide', 'large'])
@torch.no_grad()
def test_parity_with_the_authors(size):
    vit = authors_vit()
    values = {
        k.split('.')[1]: torch.from_numpy(v)
        for k, v in DATA.items() if k.startswith(f'{size}.')
    }
    close = dict(rtol=0, atol=1e-8)
    images = values['input']
    torch.testing.assert_close(vit(images)[0], values['cls'], **close)
    attention = vit.last_attention(images)
    torch.testing.assert_close(attention, values['attention'], **close)
    for block, ours in enumerate(vit.last_blocks(images, 2), 1):
        torch.testing.assert_close(ours, values[f'layer{block}'], **close)
    maps = vit.class_attention(images)
    assert maps.shape[-2:] == (images.shape[-2] // 8, images.shape[-1] // 8)
    torch.testing.assert_close(maps.flatten(2), attention[:, :, 0, 1:])
    with vit.recorded_attention() as recorded:
        outputs = [vit(images), vit(images.flip(0))]
    torch.testing.assert_close(outputs[0][0], values['cls'], **close)
    assert torch.equal(recorded[0], maps) and len(recorded) == 2
    assert torch.equal(recorded[1], vit.class_attention(images.flip(0)))
    vit(images)
    assert len(recorded) == 2  # no hook is left


def test_checkpoints_are_mmpretrains():
    ours, theirs = VisionTransformer(**TINY), MMPretrainViT(**TINY)
    theirs.load_state_dict(ours.state_dict())
    ours.eval()
    theirs.eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(images), theirs(images))
    assert ours.get_layer_depth('layers.1.attn.qkv.weight') == (2, 4)


def test_initialisation():
    vit = VisionTransformer(arch='deit-tiny')
    vit.init_weights()
    for weight in (vit.layers[3].ffn.layers[1].weight,
                   vit.layers[3].attn.qkv.weight, vit.pos_embed,
                   vit.cls_token):
        assert abs(weight.std() - .02) < 3e-3
    assert not vit.layers[3].attn.qkv.bias.any()
    assert not vit.layers[3].ffn.layers[1].bias.any()
    assert vit.ln1.eps == 1e-6


def test_pretrained_weights_are_kept(tmp_path):
    path = tmp_path / 'vit.pth'
    source = VisionTransformer(**TINY)
    torch.save(source.state_dict(), path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    vit = VisionTransformer(**TINY, init_cfg=init_cfg)
    vit.init_weights()
    torch.testing.assert_close(vit.state_dict(), source.state_dict())


def test_loading_at_another_size_equals_forward_at_it():
    small = VisionTransformer(**TINY)
    torch.nn.init.normal_(small.pos_embed)
    large = VisionTransformer(**dict(TINY, img_size=48))
    large.load_state_dict(small.state_dict())
    small.eval()
    large.eval()
    images = torch.randn(1, 3, 48, 48)
    torch.testing.assert_close(large(images), small(images))


def test_images_of_a_pair_of_sides():
    vit = MODELS.build(
        dict(type='mmdino.VisionTransformer', **dict(TINY, img_size=[32, 64])))
    assert vit.pos_embed.shape == (1, 1 + 4 * 8, 24)
    square = VisionTransformer(**TINY)
    torch.nn.init.normal_(square.pos_embed)
    vit.load_state_dict(square.state_dict())
    vit.eval()
    square.eval()
    images = torch.randn(2, 3, 32, 64)
    torch.testing.assert_close(vit(images), square(images))
    again = VisionTransformer(**dict(TINY, img_size=(32, 64)))
    again.load_state_dict(dict(vit.state_dict()))
    assert again.pos_embed.equal(vit.pos_embed)


@pytest.mark.parametrize('size', [(48, 96), (64, 32), (16, 32)])
def test_a_grid_that_is_no_square_is_resized_as_such(size, tmp_path):
    wide = VisionTransformer(**dict(TINY, img_size=(32, 64)))
    torch.nn.init.normal_(wide.pos_embed)
    torch.save(wide.state_dict(), tmp_path / 'wide.pth')
    other = VisionTransformer(**dict(TINY, img_size=size))
    other.load_state_dict(torch.load(tmp_path / 'wide.pth', weights_only=True))
    grid = (size[0] // 8, size[1] // 8)
    wanted = resize_pos_embed(wide.pos_embed, (4, 8), grid)
    assert other.pos_embed.equal(wanted)


def test_a_grid_that_cannot_be_known():
    wide = VisionTransformer(**dict(TINY, img_size=(32, 64)))
    weights = dict(wide.state_dict())  # without what a state dict knows
    vit = VisionTransformer(**TINY)
    with pytest.raises(ValueError, match='32 patches, which form no square'):
        vit.load_state_dict(weights)
    weights['pos_embed'] = torch.zeros(1, 17, 25)
    with pytest.raises(
            RuntimeError, match=r'size mismatch for pos_embed: .*17, 25'):
        vit.load_state_dict(weights)


@pytest.mark.parametrize('qk_scale', [None, .1])
def test_attention_is_the_layers_own(qk_scale, float64):
    vit = VisionTransformer(**TINY)
    vit.init_weights()
    attn = MultiheadAttention(24, 3, qk_scale=qk_scale)
    torch.nn.init.normal_(attn.qkv.weight)
    vit.layers[-1].attn = attn
    vit.eval()
    seen = []
    attn.register_forward_hook(lambda _, x, y: seen.extend((x[0], y)))
    images = torch.randn(1, 3, 32, 32)
    vit(images)
    values = attn.qkv(seen[0]).unflatten(-1, (3, 3, 8))[:, :, 2]
    out = torch.einsum('bhnm,bmhd->bnhd', vit.last_attention(images), values)
    torch.testing.assert_close(attn.proj(out.flatten(2)), seen[1])


def test_without_a_final_norm():
    vit = VisionTransformer(**TINY, final_norm=False, out_type='raw')
    theirs = MMPretrainViT(**TINY, final_norm=False, out_type='raw')
    theirs.load_state_dict(vit.state_dict(), strict=True)
    vit.eval()
    theirs.eval()
    images = torch.randn(2, 3, 32, 32)
    tokens = vit(images)[0]
    torch.testing.assert_close(tokens, theirs(images)[0])
    assert vit.last_blocks(images, 2)[1].equal(tokens)
    assert vit.class_attention(images).shape == (2, 3, 4, 4)


def test_errors():
    with pytest.raises(
            ValueError, match='img_size 30 .* patch size 8: use '
            '24 or 32'):
        VisionTransformer(**dict(TINY, img_size=30))
    with pytest.raises(ValueError, match='size 8: use 8 pixels'):
        VisionTransformer(**dict(TINY, img_size=5))
    with pytest.raises(ValueError, match='img_size 60 is not a multiple'):
        VisionTransformer(**dict(TINY, img_size=(32, 60)))
    with pytest.raises(ValueError, match='needs a class token'):
        VisionTransformer(**TINY, with_cls_token=False)
    vit = VisionTransformer(**TINY)
    with pytest.raises(ValueError, match='image width 36 is not a multiple'):
        vit(torch.zeros(1, 3, 32, 36))
    with pytest.raises(ValueError, match=r'3 channels.*\(1, 1, 32, 32\)'):
        vit(torch.zeros(1, 1, 32, 32))
    with pytest.raises(ValueError, match="pos_embed_mode.*got 'bilinear'"):
        VisionTransformer(**TINY, pos_embed_mode='bilinear')
