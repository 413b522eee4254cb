import pytest
import torch
from torch import nn

from mmdino.models.backbones.conv_stem import ConvStem
from mmdino.registry import MODELS


def _stem(**kwargs) -> ConvStem:
    args = dict(type='ConvStem', embed_dims=24, patch_size=4, input_size=32)
    return MODELS.build({**args, **kwargs})


@pytest.mark.parametrize('height, width', [(32, 32), (16, 16), (16, 40)])
def test_returns_one_token_a_patch(height, width):
    tokens, grid = _stem()(torch.rand(2, 3, height, width))
    assert grid == (height // 4, width // 4)
    assert tokens.shape == (2, grid[0] * grid[1], 24)


@pytest.mark.parametrize('patch_size, widths', [(2, [48]), (4, [24, 48]),
                                                (16, [6, 12, 24, 48])])
def test_widths_double_up_to_the_tokens(patch_size, widths):
    stem = _stem(embed_dims=48, patch_size=patch_size)
    convs = [m for m in stem.convs if isinstance(m, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == widths
    assert stem.init_out_size == (32 // patch_size, ) * 2


def test_tokens_are_in_reading_order():
    """A change in one corner moves the tokens near it and no others."""
    stem = _stem().eval()
    img = torch.zeros(1, 3, 32, 32)
    changed = img.clone()
    changed[..., :4, -4:] = 1
    moved = (stem(img)[0] != stem(changed)[0]).any(-1).view(8, 8)
    assert moved[0, -1]
    assert not moved[2:].any() and not moved[:, :-2].any()


def test_norm_is_a_choice():
    stem = _stem(norm_cfg=dict(type='GN', num_groups=4))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in stem.modules())


@pytest.mark.parametrize('patch_size', [1, 6, 0])
def test_other_patches_are_refused(patch_size):
    with pytest.raises(ValueError, match=f'patch_size must .* {patch_size}'):
        _stem(patch_size=patch_size)


def test_widths_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match='embed_dims .*multiple of 8.*20'):
        _stem(embed_dims=20, patch_size=16)
