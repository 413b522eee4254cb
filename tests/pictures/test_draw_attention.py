import numpy as np
import pytest
import torch
from PIL import Image

from mmdino.pictures.attention import draw_attention, overlay

LEFT = torch.tensor([[1., 0.], [1., 0.]])
UPPER = torch.tensor([[1., 1.], [0., 0.]])


def captions(figure):
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_best_head_and_its_jaccard_index_by_hand(tmp_path):
    image = np.full((8, 8, 3), 100, dtype=np.uint8)
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[:4] = 1  # the upper half
    mask[0, 0] = 255
    attentions = [torch.stack([LEFT, UPPER])] * 2
    figure = draw_attention([image, image], attentions, [mask, 0 * mask],
                            tmp_path / 'attention.png')
    # The second picture has no object.
    assert captions(figure) == ['head 2, J 1.00', 'mean of heads']
    names = [axis.get_title() for axis in figure.axes[:4]]
    assert names == ['input', 'head 1', 'head 2', '60% mask']
    assert Image.open(tmp_path / 'attention.png').width > 500


def test_pictures_of_several_sizes_without_masks():
    images = [np.zeros((8, 8, 3), np.uint8), np.zeros((9, 31, 3), np.uint8)]
    attentions = [torch.rand(3, 2, 2), torch.rand(3, 2, 7).half()]
    figure = draw_attention(images, attentions, titles=['cat', 'dog'])
    assert len(figure.axes) == 2 * 5
    assert captions(figure) == ['mean of heads'] * 2


def test_overlay_tints_the_kept_and_darkens_the_others():
    image = np.full((4, 4, 3), 100, dtype=np.uint8)
    color = np.array([200, 0, 0])
    result = overlay(image, LEFT.numpy() > 0, color, strength=.5)
    assert (result[:, :2] == [150, 50, 50]).all()
    assert (result[:, 2:] == 60).all()


def test_errors():
    with pytest.raises(ValueError, match='1 images and 0 attentions'):
        draw_attention([np.zeros((8, 8, 3), np.uint8)], [])
