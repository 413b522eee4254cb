"""Attention within windows: equal to a plain loop, global with one window."""
import pytest
import torch

from mmdino.models import VisionTransformer, WindowedVisionTransformer
from mmdino.models.backbones.vision_transformer import attention
from mmdino.models.backbones.windowed_vision_transformer import run_in_windows

TINY = dict(
    arch=dict(
        embed_dims=24, num_layers=3, num_heads=3, feedforward_channels=48),
    img_size=32,
    patch_size=8,
    out_type='raw')


@pytest.fixture
def networks(float64):
    plain = VisionTransformer(**TINY)
    windowed = WindowedVisionTransformer(
        **TINY, window_size=3, global_blocks=(1, ))
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=.3)
    windowed.load_state_dict(plain.state_dict(), strict=True)
    return plain.eval(), windowed.eval()


def cuts(side, window_size):
    """Borders of the least number of windows, the longer ones first."""
    parts = torch.arange(side).tensor_split(-(-side // window_size))
    return [(part[0].item(), part[-1].item() + 1) for part in parts]


@pytest.mark.parametrize('grid', [(3, 3), (6, 6), (4, 7), (1, 8), (5, 2)])
def test_equals_a_loop_over_windows(grid, networks):
    block = networks[0].layers[0]
    x = torch.randn(2, 1 + grid[0] * grid[1], 24, requires_grad=True)
    out = run_in_windows(block, x, grid, 3)

    maps = x[:, 1:].unflatten(1, grid)
    wanted, cls_tokens = torch.zeros(2, *grid, 24), []
    for top, bottom in cuts(grid[0], 3):
        for left, right in cuts(grid[1], 3):
            part = maps[:, top:bottom, left:right]
            y = block(torch.cat([x[:, :1], part.flatten(1, 2)], 1))
            cls_tokens.append(y[:, :1])
            wanted[:, top:bottom, left:right] = y[:, 1:].view_as(part)
    cls_token = torch.stack(cls_tokens).mean(0)
    wanted = torch.cat([cls_token, wanted.flatten(1, 2)], 1)
    torch.testing.assert_close(out, wanted, rtol=1e-12, atol=1e-12)

    weights = torch.randn_like(out)
    torch.testing.assert_close(
        *(torch.autograd.grad((y * weights).sum(), x, retain_graph=True)[0]
          for y in (out, wanted)),
        rtol=1e-12,
        atol=1e-12)


def test_one_window_is_global(networks):
    plain, windowed = networks
    images = torch.randn(2, 3, 24, 24)
    torch.testing.assert_close(windowed(images), plain(images))
    torch.testing.assert_close(
        windowed.last_attention(images), plain.last_attention(images))
    images = torch.randn(2, 3, 32, 40)
    assert not torch.allclose(windowed(images)[0], plain(images)[0])


def test_patches_of_other_windows_are_not_seen_before_a_global_block(networks):
    images = torch.randn(1, 3, 48, 48)
    changed = images.clone()
    changed[..., 24:] += 1
    windowed = networks[1]

    def after(blocks, images):
        x, grid = windowed.embed(images)
        for i in range(blocks):
            x = windowed.run_block(i, x, grid)
        return x[:, 1:].unflatten(1, grid)[:, :, :3]

    assert after(1, images).equal(after(1, changed))
    assert not torch.allclose(after(2, images), after(2, changed))


def test_class_attention_of_windows_is_what_the_token_averages(networks):
    windowed = networks[1]  # its last block attends within windows
    block = windowed.layers[-1]
    images = torch.randn(2, 3, 32, 56)
    with windowed.recorded_attention() as recorded:
        windowed(images)
    wanted, averages = torch.zeros(2, 3, 4, 7), 0
    x, grid = windowed.embed(images)
    for i in range(2):
        x = windowed.run_block(i, x, grid)
    maps = x[:, 1:].unflatten(1, grid)
    windows = [(*rows, *columns) for rows in cuts(4, 3)
               for columns in cuts(7, 3)]
    for top, bottom, left, right in windows:
        part = maps[:, top:bottom, left:right]
        tokens = torch.cat([x[:, :1], part.flatten(1, 2)], 1)
        row = attention(block, tokens)[:, :, 0]
        wanted[:, :, top:bottom, left:right] = row[..., 1:].unflatten(
            -1, part.shape[1:3]) / len(windows)
        averages += row[..., 0] / len(windows)
    assert len(windows) == 6
    ours = windowed.class_attention(images)
    torch.testing.assert_close(ours, wanted)
    assert len(recorded) == 1 and recorded[0].equal(ours)
    torch.testing.assert_close(ours.sum((2, 3)) + averages, torch.ones(2, 3))
    with pytest.raises(ValueError, match='block, 2, .* windows of 3 .*32, 56'):
        windowed.last_attention(images)


@pytest.mark.parametrize('arguments, message', [
    (dict(window_size=0), 'at least 1 patch, got 0'),
    (dict(global_blocks=(2, 3)), 'blocks are 0 to 2'),
])
def test_bad_windows_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        WindowedVisionTransformer(**{**TINY, 'global_blocks': (), **arguments})
