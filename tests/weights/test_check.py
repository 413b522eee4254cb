"""Do other libraries' networks compute what ours do, of the same weights?"""
import pytest
import timm
import torch

from mmdino.apis.compare import differences, image_sizes, our_features
from mmdino.weights import convert
from mmdino.weights.formats.ours import backbone_of
from mmdino.weights.infer import backbone_cfg
from tests.weights import states


def small_224():
    """A ViT of 224 px, so small that it takes a moment."""
    vit = timm.models.vision_transformer.VisionTransformer(
        embed_dim=48, depth=3, num_heads=3, num_classes=0)
    return vit.state_dict()


@pytest.mark.parametrize('format_',
                         ['official', 'mmdino', 'mmpretrain', 'timm', 'hf'])
def test_vit(format_):
    if format_ == 'hf':
        pytest.importorskip('transformers')
    state = convert(small_224(), 'timm', 'mmdino')
    state = {
        key: value + torch.randn_like(value) * .1
        for key, value in state.items()
    }
    found = list(differences(state, format_, num_heads=3))
    assert [d.size for d in found] == [(224, 224), (112, 112), (208, 240),
                                       (256, 256)]
    assert max(d.largest for d in found) < 1e-5


def test_modes_of_position_embeddings_differ():
    """So that agreement above is agreement of the modes."""
    state = convert(states.vit(), 'official', 'mmdino')
    backbone = backbone_of(state)
    cfg = backbone_cfg(backbone, states.NUM_HEADS)
    formats = ('official', 'hf', 'timm')
    ours = [our_features(backbone, cfg, name) for name in formats]
    stored, smaller, *_ = image_sizes(cfg)
    for size, equal in ((stored, True), (smaller, False)):
        images = torch.randn(1, 3, *size)
        first, *others = [features(images) for features in ours]
        assert first.std() > .1
        for other in others:
            assert ((first - other).abs().max() < 1e-5) == equal


@pytest.mark.parametrize('name, format_', [
    ('xcit', 'official'),
    ('xcit', 'mmpretrain'),
    ('xcit', 'timm'),
    ('resnet', 'official'),
    ('resnet', 'mmpretrain'),
    ('resnet', 'timm'),
])
def test_convolutional(name, format_):
    origin = dict(xcit='timm', resnet='torchvision')[name]
    state = convert(getattr(states, name)(), origin, 'mmdino')
    first = next(differences(state, format_))
    assert first.size == (224, 224) and first.largest < 1e-5
