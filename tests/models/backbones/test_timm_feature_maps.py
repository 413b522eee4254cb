"""Maps of timm's models for detectors."""
import pytest
import torch

from mmdino.models import TimmBackbone, TimmFeatureMaps

XCIT = 'xcit_nano_12_p16_224'


def test_xcit_yields_maps_of_blocks():
    backbone = TimmFeatureMaps(XCIT, out_indices=(3, 11))
    backbone.eval()
    images = torch.rand(2, 3, 64, 96)
    maps = backbone(images)
    assert [tuple(x.shape) for x in maps] == [(2, 128, 4, 6)] * 2
    # what the class attention gets in the pooled network
    plain = TimmBackbone(XCIT)
    plain.eval()
    plain.load_state_dict(backbone.state_dict(), strict=True)
    seen = []
    plain.model.cls_attn_blocks[0].register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0][:, 1:]))
    plain(images)
    assert maps[1].flatten(2).mT.equal(seen[0])


def test_a_convnet_yields_its_stages():
    backbone = TimmFeatureMaps('resnet10t')
    backbone.eval()
    maps = backbone(torch.rand(1, 3, 64, 64))
    assert [x.shape[-1] for x in maps] == [32, 16, 8, 4, 2]


@pytest.mark.parametrize('indices', [(12, ), (-1, )])
def test_blocks_that_are_not_there(indices):
    with pytest.raises(ValueError, match='0 to 11'):
        TimmFeatureMaps(XCIT, out_indices=indices)
