"""The width of the features, inferred for networks of mmpretrain."""
from contextlib import nullcontext

import pytest
import torch
import torch.nn as nn
from mmengine.registry import DefaultScope

from mmdino.models.embedding import embed, embedding_width
from mmdino.registry import MODELS, build_module

TINY_SWIN = dict(embed_dims=24, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1])
TINY_CONVNEXT = dict(depths=[1, 1, 1, 1], channels=[8, 16, 24, 40])
# type, arguments, channels, whether the backbone yields maps
NETWORKS = [
    ('MobileNetV2', dict(widen_factor=.25), 3, True),
    ('EfficientNet', dict(arch='b0'), 3, True),
    ('ShuffleNetV2', dict(widen_factor=.5), 3, True),
    ('VGG', dict(depth=11, norm_cfg=dict(type='BN')), 3, True),
    ('SwinTransformer', dict(arch=TINY_SWIN, img_size=64,
                             pad_small_map=True), 3, True),
    ('ConvNeXt', dict(arch=TINY_CONVNEXT), 3, False),
    ('ConvNeXt', dict(arch=TINY_CONVNEXT,
                      gap_before_final_norm=False), 3, True),
    ('ResNet', dict(depth=18, in_channels=1), 1, True),
    ('VisionTransformer', dict(arch='deit-tiny', in_channels=4), 4, False),
]


def network_of(name, arguments, maps, build=build_module):
    parts = dict(backbone=build(dict(type=f'mmpretrain.{name}', **arguments)))
    if maps:
        parts['neck'] = build(dict(type='mmpretrain.GlobalAveragePooling'))
    return nn.ModuleDict(parts)


@pytest.mark.parametrize('scope', [None, 'mmdino'])
@pytest.mark.parametrize('build', [MODELS.build, build_module])
@pytest.mark.parametrize('name, arguments, channels, maps', NETWORKS)
def test_networks_of_mmpretrain(name, arguments, channels, maps, build, scope):
    with (DefaultScope.overwrite_default_scope(scope)
          if scope else nullcontext()):
        network = network_of(name, arguments, maps, build)
        width = embedding_width(network, channels=channels)
    assert all(p.device.type == 'cpu' for p in network.parameters())
    assert network['backbone'].training
    network.eval()
    size = 224 if name == 'VisionTransformer' else 64
    with torch.no_grad():
        images = torch.zeros(1, channels, size, size)
        assert embed(network, images).shape == (1, width)


class Squares(nn.Module):
    """Needs the values of its images, which the meta device lacks."""
    img_size = 32

    def forward(self, images):
        assert images.shape[-2:] == (32, 32)
        return images.flatten(1)[:, :5 + int(images.sum().item())]


def test_the_cpu_serves_where_the_meta_device_does_not():
    assert embedding_width(dict(backbone=Squares())) == 5


@pytest.mark.parametrize('name, arguments, maps, message', [
    ('ResNet', dict(depth=18, in_channels=1), True,
     r'ResNet and GlobalAveragePooling failed .*\(1, 3, 224, 224\).*in_channel'
     ),
    ('ConvNeXt', dict(arch=TINY_CONVNEXT), True,
     'a neck is set only if the backbone yields maps'),
    ('ShuffleNetV2', dict(widen_factor=.5), False, 'one feature vector'),
])
def test_what_yields_no_vector_is_refused(name, arguments, maps, message):
    with pytest.raises(ValueError, match=message):
        embedding_width(network_of(name, arguments, maps))
