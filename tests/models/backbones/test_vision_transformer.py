import pytest
import torch
from mmpretrain.models import VisionTransformer as MMPretrainViT

from mmdino.models import VisionTransformer
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


def test_errors():
    with pytest.raises(
            ValueError, match='img_size 30 .* patch size 8: use '
            '24 or 32'):
        VisionTransformer(**dict(TINY, img_size=30))
    with pytest.raises(ValueError, match='needs a class token'):
        VisionTransformer(**TINY, with_cls_token=False)
    vit = VisionTransformer(**TINY)
    with pytest.raises(ValueError, match='image width 36 is not a multiple'):
        vit(torch.zeros(1, 3, 32, 36))
    with pytest.raises(ValueError, match=r'3 channels.*\(1, 1, 32, 32\)'):
        vit(torch.zeros(1, 1, 32, 32))
    with pytest.raises(ValueError, match="pos_embed_mode.*got 'bilinear'"):
        VisionTransformer(**TINY, pos_embed_mode='bilinear')
