import pytest
import torch

from mmdino.models.embedding import embedding_width
from mmdino.registry import MODELS


def _network(**kwargs):
    args = dict(type='SmallResNet', depth=10, stem_channels=8, base_channels=8)
    return torch.nn.ModuleDict(
        dict(
            backbone=MODELS.build({
                **args,
                **kwargs
            }),
            neck=MODELS.build(dict(type='mmpretrain.GlobalAveragePooling'))))


@pytest.mark.parametrize('side, last', [(32, 2), (24, 2), (16, 1)])
def test_the_map_is_a_sixteenth_of_the_picture(side, last):
    maps = _network()['backbone'](torch.rand(2, 3, side, side))
    assert maps[-1].shape == (2, 64, last, last)


def test_one_block_a_stage():
    backbone = _network()['backbone']
    stages = [getattr(backbone, name) for name in backbone.res_layers]
    assert [len(stage) for stage in stages] == [1, 1, 1, 1]
    assert len(_network(depth=18)['backbone'].layer1) == 2


def test_its_width_is_inferred():
    assert embedding_width(_network()) == 64


def test_pretrained_weights_are_loaded_whole(tmp_path):
    source = _network()['backbone']
    path = str(tmp_path / 'weights.pth')
    torch.save(source.state_dict(), path)
    init = dict(type='Pretrained', checkpoint=path)
    loaded = _network(init_cfg=init)['backbone']
    loaded.init_weights()
    for ours, theirs in zip(loaded.parameters(), source.parameters()):
        assert torch.equal(ours, theirs)
    with pytest.raises(Exception, match='layer1'):
        _network(init_cfg=init, base_channels=16)['backbone'].init_weights()
