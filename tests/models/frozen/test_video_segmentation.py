import pytest
import torch
from mmpretrain.structures import DataSample

from mmdino.functional.label_propagation import (labels_to_mask,
                                                 mask_to_labels,
                                                 propagate_labels)
from mmdino.registry import MODELS
from tests.davis_tree import moving_square
from tests.tiny import model_cfg


def build(**changes):
    parts = {
        key: model_cfg()[key]
        for key in ('backbone', 'data_preprocessor')
    }
    model = MODELS.build(dict(parts, type='mmdino.VideoSegmenter') | changes)
    model.init_weights()
    return model.eval()


def video(frames=5, size=(64, 96)):
    """A batch of one video of BGR frames, as the loader gives it."""
    images, masks = moving_square(frames, size, square=32)
    sample = DataSample()
    sample.set_field(masks[0], 'first_mask')
    sample.set_field('kite', 'sequence', field_type='metainfo')
    inputs = torch.from_numpy(images[..., ::-1].transpose(0, 3, 1, 2).copy())
    return dict(inputs=[inputs], data_samples=[sample]), masks


def test_masks_of_the_original_size():
    model, (batch, masks) = build(), video()
    batch['inputs'] = [batch['inputs'][0][..., :64]]  # not that of the masks
    sample, = model.test_step(batch)
    assert sample.pred_masks.shape == masks.shape
    assert sample.pred_masks.dtype == torch.uint8
    assert (sample.pred_masks[0].numpy() == masks[0]).all()
    assert set(sample.pred_masks.unique().tolist()) == {0, 1}


def test_context_is_the_first_frame_and_the_last_ones():
    """With num_context=2 frame 4 looks at 0, 2 and 3."""
    model = build(num_context=2, radius=3, topk=4, temperature=.2)
    batch, masks = video()
    got = model.test_step(batch)[0].pred_masks
    frames = model.data_preprocessor(video()[0])['inputs'][0]
    with torch.no_grad():
        tokens = model.backbone.last_blocks(frames)[0][:, 1:]
    features = tokens / tokens.norm(dim=-1, keepdim=True)
    features = features.view(5, 8, 12, 24)
    labels = [mask_to_labels(torch.from_numpy(masks[0]), (8, 12), 1)]
    for i, context in enumerate([[0], [0, 1], [0, 1, 2], [0, 2, 3]], 1):
        labels.append(
            propagate_labels(features[i], features[context],
                             torch.stack([labels[j] for j in context]), 3, 4,
                             .2))
        wanted = labels_to_mask(labels[i], (64, 96), (64, 96))
        assert (got[i] != wanted).float().mean() < .001


def test_one_frame_is_the_first_mask():
    batch, masks = video(frames=1)
    sample, = build().test_step(batch)
    assert (sample.pred_masks.numpy() == masks).all()


def test_the_batch_may_hold_videos_of_many_lengths():
    model, short, long = build(), video(frames=2)[0], video(frames=4)[0]
    both = {key: short[key] + long[key] for key in short}
    assert [len(s.pred_masks) for s in model.test_step(both)] == [2, 4]


def test_errors():
    timm = dict(type='mmdino.TimmBackbone', model_name='resnet10t')
    with pytest.raises(ValueError, match='tokens.*resnet10t'):
        build(backbone=timm)
    for name, value in (('num_context', -1), ('radius', -1), ('topk', 0),
                        ('temperature', 0.)):
        with pytest.raises(ValueError, match='needs num_context >= 0'):
            build(**{name: value})
    with pytest.raises(ValueError, match='multiple of the patch size'):
        batch = video(size=(60, 96))[0]
        build().test_step(batch)
