"""However images and masks are spread, DINOv2 comes out the same.

Compared are runs whose masks belong to the images. KoLeo's neighbours are
those of all ranks; accumulated batches, which know nothing of each other, are
compared without KoLeo.
"""
import os
from pathlib import Path

import pytest
import torch
from mmengine.dist import all_reduce, get_world_size
from torch.nn.parallel import DistributedDataParallel

import tests.tiny_v2  # noqa: F401
from mmdino.engine.launch import build_runner
from mmdino.models import total_loss
from mmdino.models.backbones import encoder_layer
from mmdino.registry import MODELS
from tests.launching import (FSDP, ROOT, assert_close, checkpoint, job_cfg,
                             losses_of, train_on_two, write)
from tests.ranks import run_ranks
from tests.tiny import runner_cfg
from tests.tiny_v2 import V2, as_dinov2

GUARDS = ['MeanCentering', 'SinkhornKnopp']


def cfg_of(folder, batch_size, guard='MeanCentering', **changes):
    koleo = dict(type='mmdino.KoLeoLoss', all_ranks=True)
    guard = dict(type=f'mmdino.{guard}')
    cfg = job_cfg(
        folder, batch_size, **{
            **V2, 'masking': dict(type='MasksOfImages'),
            'centering': guard,
            'patch_centering': guard,
            'koleo': koleo,
            **changes
        })
    cfg.launcher = 'none'
    cfg.custom_imports.imports.append('tests.tiny_v2')
    return as_dinov2(cfg)


def train(cfg):
    build_runner(cfg).train()
    return end_of(Path(cfg.work_dir))


def end_of(folder):
    return losses_of(folder), checkpoint(folder)


def assert_same_end(ours, theirs):
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=1e-6)
    assert_close(ours[1], theirs[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    'changes',
    [dict(), FSDP,
     dict(FSDP, model=dict(backbone=dict(with_cp=True)))],
    ids=['ddp', 'fsdp', 'fsdp-with_cp'])
@pytest.mark.parametrize('guard', GUARDS)
def test_two_processes_one_of_them_without_masks(changes, guard, tmp_path,
                                                 float64):
    """The second process has no masked patch in any iteration."""
    losses, end = train(cfg_of(tmp_path / 'one', batch_size=4, guard=guard))
    assert len(losses) == 12
    cfg = cfg_of(tmp_path / 'two', batch_size=2, guard=guard)
    cfg.merge_from_dict(changes)
    train_on_two(write(cfg, tmp_path / 'two'))
    assert_same_end(end_of(tmp_path / 'two/run'), (losses, end))
    if guard == 'MeanCentering':
        assert end['state_dict']['patch_centering.center'].any()


def views_of(images):
    """Two global and two local views of some images, in float64."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(4, 3, size, size, generator=generator)[images].double()
        for size in (32, 32, 16, 16)
    ]


def gradients_of_a_step(cfg, images):
    """Losses and gradients; what the log shows is the same on all ranks."""
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    model.double().train()
    wrapped = model
    if get_world_size() > 1:
        wrapped = DistributedDataParallel(model)
    outputs = wrapped(views_of(images), mode='loss')
    total_loss(outputs).backward()
    missing = [
        n for n, p in model.named_parameters()
        if p.requires_grad and p.grad is None
    ]
    assert not missing
    for centering in model.centerings:
        centering.update()
    return outputs, {
        **{
            n: p.grad
            for n, p in model.named_parameters() if p.grad is not None
        },
        **{
            n: b
            for n, b in model.named_buffers() if 'center' in n
        }
    }


def step_of_a_rank(rank, folder, cfg, has_masks):
    outputs, gradients = gradients_of_a_step(cfg, slice(rank, None, 2))
    assert bool(outputs['masked_share'] > 0) == has_masks[rank]
    expected = torch.load(folder / 'one.pth')
    for name, value in expected.items():
        torch.testing.assert_close(gradients[name], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize('tokens_per_chunk', [None, 2])
@pytest.mark.parametrize('guard', GUARDS)
def test_gradients_where_one_rank_has_no_masks(guard, tokens_per_chunk,
                                               tmp_path):
    """On each rank every parameter has one, all are those of one process."""
    cfg = cfg_of(tmp_path / 'x', 4, guard, tokens_per_chunk=tokens_per_chunk)
    cfg = cfg.model.to_dict()
    _, expected = gradients_of_a_step(cfg, slice(None))
    torch.save(expected, tmp_path / 'one.pth')
    run_ranks(step_of_a_rank, tmp_path, cfg, [True, False])


def step_on_a_subset(rank, folder, cfg):
    outputs, gradients = gradients_of_a_step(cfg, slice(rank, None, 2))
    for gradient in gradients.values():
        mean = gradient.clone()
        all_reduce(mean, 'mean')
        torch.testing.assert_close(gradient, mean, rtol=0, atol=1e-12)
    blocks = [g for n, g in gradients.items() if 'attn.qkv.weight' in n]
    assert blocks and all(g.any() for g in blocks)


def test_subsets_of_images_in_blocks_that_run_again(tmp_path):
    """Every parameter has a gradient, the same on both ranks."""
    cfg = cfg_of(
        tmp_path / 'x',
        4,
        backbone__drop_path_rate=.5,
        backbone__drop_path_subset=True,
        backbone__drop_path_uniform=True,
        backbone__with_cp=True)
    run_ranks(step_on_a_subset, tmp_path, cfg.model.to_dict())


def draw_subsets(rank, folder):
    """Train; keep the images that each branch has changed."""
    os.chdir(ROOT)  # of the configs
    drawn, add = [], encoder_layer.add_of_subset

    def recorded(x, branch, rate):
        out = add(x, branch, rate)
        drawn.append((out != x).flatten(1).any(1).tolist())
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder_layer, 'add_of_subset', recorded)
        cfg = runner_cfg(
            folder / 'run',
            batch_size=4,
            length=16,
            backbone__drop_path_rate=.5,
            backbone__drop_path_subset=True,
            backbone__drop_path_uniform=True)
        cfg.launcher = 'pytorch'
        build_runner(cfg).train()
    torch.save(drawn, folder / f'{rank}.pt')


def test_ranks_leave_out_different_images(tmp_path):
    """Of 4 images each, in 2 branches of 2 blocks, 2 sizes and 4 steps."""
    run_ranks(draw_subsets, tmp_path)
    drawn = [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)]
    sizes = {(len(images), sum(images)) for images in drawn[0] + drawn[1]}
    # The two views of a size are one batch.
    assert len(drawn[0]) == len(drawn[1]) == 32 and sizes == {(8, 4)}
    # Two subsets of 4 of 8 images are equal once in 70 times.
    assert sum(map(list.__eq__, *drawn)) < 4


@pytest.mark.parametrize('tokens_per_chunk', [None, 3])
def test_accumulated_batches_equal_whole_ones(tokens_per_chunk, tmp_path,
                                              float64):
    changes = dict(koleo=None, tokens_per_chunk=tokens_per_chunk)
    whole = cfg_of(tmp_path / 'one', batch_size=4, koleo=None)
    halves = cfg_of(tmp_path / 'half', batch_size=2, **changes)
    halves.optim_wrapper.accumulative_counts = 2
    for cfg in (whole, halves):  # which count iterations unlike
        cfg.default_hooks.centering.warmup_epochs = 0
    losses, end = train(whole)
    half_losses, half_end = train(halves)
    means = torch.tensor(half_losses).view(12, 2).mean(1)
    assert_same_end((means.tolist(), half_end), (losses, end))
