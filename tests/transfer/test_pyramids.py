"""Pyramids on the maps of a plain ViT; mmdet is not needed."""
import pytest
import torch
import torch.nn.functional as F

from mmdino.transfer.detection import RescaledMaps, SimpleFeaturePyramid


def test_maps_of_one_size_become_strides():
    neck = RescaledMaps(8, scales=(4, 2, 1, .5, .25))
    maps = torch.randn(5, 1, 8, 4, 8)
    outs = neck(maps)
    assert neck.out_channels == [2, 4, 8, 8, 8]
    assert [tuple(x.shape[1:]) for x in outs] == [(2, 16, 32), (4, 8, 16),
                                                  (8, 4, 8), (8, 2, 4),
                                                  (8, 1, 2)]
    assert outs[2].equal(maps[2])
    assert outs[3].equal(F.max_pool2d(maps[3], 2))


def test_another_number_of_maps_is_refused():
    with pytest.raises(ValueError, match='zip'):
        RescaledMaps(8, scales=(2, 1))([torch.randn(1, 8, 4, 4)])


def test_another_scale_is_refused():
    with pytest.raises(ValueError, match='1/2 or 1/4, got 3'):
        RescaledMaps(8, scales=(3, ))


def test_every_level_is_of_the_last_map():
    neck = SimpleFeaturePyramid(8, (4, 2, 1, .5), out_channels=6, num_outs=6)
    maps = torch.randn(2, 1, 8, 4, 8, requires_grad=True)
    levels = neck(maps)
    assert [tuple(x.shape[1:]) for x in levels] == [(6, 16, 32), (6, 8, 16),
                                                    (6, 4, 8), (6, 2, 4),
                                                    (6, 1, 2), (6, 1, 1)]
    assert levels[4].equal(levels[3][..., ::2, ::2])
    for level in levels:
        grad, = torch.autograd.grad(
            level.square().sum(), maps, retain_graph=True)
        assert not grad[0].any() and grad[1].any()


def test_layer_norm_is_over_channels():
    level, = SimpleFeaturePyramid(
        8, (1, ), num_outs=1)([torch.randn(1, 8, 3, 3)])
    torch.testing.assert_close(
        level.mean(1), torch.zeros(1, 3, 3), atol=1e-5, rtol=0)


def test_fewer_levels_than_scales_are_refused():
    with pytest.raises(ValueError, match='num_outs=2 is less than the 3'):
        SimpleFeaturePyramid(8, (2, 1, .5), num_outs=2)
