"""Views as a network gets them."""
import torch

from mmdino.registry import MODELS


def _run(**kwargs):
    preprocessor = MODELS.build(
        dict(type='MultiViewDataPreprocessor', **kwargs))
    views = [torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4).byte()] * 2
    return preprocessor(dict(inputs=views))['inputs']


def test_channels_last_is_about_memory_alone():
    for view, same in zip(_run(channels_last=True), _run()):
        assert view.is_contiguous(memory_format=torch.channels_last)
        assert same.is_contiguous()
        assert torch.equal(view, same)
