"""Resized position embeddings of a frozen network are kept, never stale."""
import copy
import io

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from mmdino.models import VisionTransformer
from mmdino.models.backbones import position_embeddings
from mmdino.models.backbones.position_embeddings import (POS_EMBED_MODES,
                                                         PosEmbedCache,
                                                         resize_pos_embed)

TINY = dict(
    arch=dict(
        embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=96),
    img_size=32,
    patch_size=8)
IMAGES = torch.randn(2, 3, 48, 40, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def resized(monkeypatch):
    """Sizes to which position embeddings were resized."""
    seen, interpolate = [], torch.nn.functional.interpolate

    def record(maps, *args, **kwargs):
        out = interpolate(maps, *args, **kwargs)
        seen.append(tuple(out.shape[-2:]))
        return out

    monkeypatch.setattr(position_embeddings.F, 'interpolate', record)
    return seen


def frozen(**kwargs):
    vit = VisionTransformer(**TINY, **kwargs)
    vit.init_weights()
    torch.nn.init.normal_(vit.pos_embed)
    vit.eval()
    return vit


def fresh(vit, images=IMAGES):
    """What a network says that has kept nothing."""
    other = VisionTransformer(**TINY, pos_embed_mode=vit.pos_embed_mode)
    other.to(vit.pos_embed.dtype).load_state_dict(vit.state_dict())
    other.eval()
    return other.tokens(images.to(vit.pos_embed.dtype))


@torch.no_grad()
def test_a_frozen_network_resizes_once(resized):
    vit = frozen()
    first = vit.tokens(IMAGES)
    for _ in range(3):
        assert vit.tokens(IMAGES).equal(first)
        vit.last_blocks(IMAGES)
        vit.class_attention(IMAGES)
        vit.tokens(IMAGES[..., :32, :32])  # as stored
    assert resized == [(6, 5)]
    vit.tokens(IMAGES.mT)
    vit.tokens(IMAGES)
    assert resized == [(6, 5), (5, 6)]
    with torch.inference_mode():
        assert vit.tokens(IMAGES).equal(first)
    assert len(resized) == 2


def test_what_was_kept_in_inference_mode(resized):
    vit = frozen()
    with torch.inference_mode():
        vit.tokens(IMAGES)
    with torch.no_grad():
        tokens = vit.tokens(IMAGES)
    assert resized == [(6, 5)]
    assert tokens.equal(fresh(vit).detach())


def test_a_network_that_learns_resizes_in_every_pass(resized):
    vit = frozen()
    for _ in range(2):
        vit.tokens(IMAGES).sum().backward()  # in eval mode as well
    with torch.no_grad():
        vit.tokens(IMAGES)
        vit.train()
        vit.tokens(IMAGES)
        vit.tokens(IMAGES)
    assert len(resized) == 5
    vit.pos_embed.grad = None
    vit.tokens(IMAGES).sum().backward()
    assert vit.pos_embed.grad.any()


def load(vit):
    vit.load_state_dict(frozen().state_dict())


def step(vit):
    vit.pos_embed.grad = torch.randn_like(vit.pos_embed)
    torch.optim.AdamW([vit.pos_embed], lr=.1).step()


def follow(vit):  # as the teacher does
    torch._foreach_lerp_([vit.pos_embed], [torch.randn(1, 17, 24)], .5)


def write(vit):
    vit.pos_embed.mul_(1.5)


def write_data(vit):  # of which PyTorch keeps no count
    vit.pos_embed.data.mul_(1.5)


def write_one_number(vit):
    vit.pos_embed.data[0, 3, 5] += 1e-3


def write_array(vit):
    vit.pos_embed.detach().numpy()[0, 3] = 7


def set_data(vit):
    vit.pos_embed.data = torch.randn(1, 17, 24)


def replace(vit):
    vit.pos_embed = torch.nn.Parameter(torch.randn(1, 17, 24))


def cast(vit):
    vit.double()


def cast_and_back(vit):
    vit.half().float()


def cast_twice(vit):
    vit.bfloat16()
    vit.tokens(IMAGES.bfloat16())
    vit.float()


def move(vit):
    vit.to('meta')
    vit.tokens(IMAGES.to('meta'))
    vit.to_empty(device='cpu')
    load(vit)


def change_mode(vit):
    vit.pos_embed_mode = 'antialias'


def swap(vit):
    other = frozen()
    with torch.no_grad():
        other.tokens(IMAGES)
    vit.pos_embed, other.pos_embed = other.pos_embed, vit.pos_embed


CHANGES = (load, step, follow, write, write_data, write_one_number,
           write_array, set_data, replace, cast, cast_and_back, cast_twice,
           move, change_mode, swap)


@pytest.mark.parametrize('change', CHANGES, ids=lambda f: f.__name__)
@torch.no_grad()
def test_every_change_of_weights_is_seen(change):
    vit = frozen()
    before = vit.tokens(IMAGES)
    for _ in range(2):  # from what is kept to what is kept
        change(vit)
        tokens = vit.tokens(IMAGES.to(vit.pos_embed.dtype))
        assert tokens.equal(fresh(vit))
        assert vit.tokens(IMAGES.to(vit.pos_embed.dtype)).equal(tokens)
    assert not tokens.float().equal(before)


@torch.no_grad()
def test_copies_and_other_weights():
    vit = frozen()
    wanted = vit.tokens(IMAGES)
    file = io.BytesIO()
    torch.save(vit, file)
    file.seek(0)
    for other in (copy.deepcopy(vit), copy.copy(vit),
                  torch.load(file, weights_only=False)):
        assert other.tokens(IMAGES).equal(wanted)
    copied = copy.deepcopy(vit)
    write_data(copied)
    assert copied.tokens(IMAGES).equal(fresh(copied))
    assert vit.tokens(IMAGES).equal(wanted)
    shallow = copy.copy(vit)
    write_data(shallow)  # shares the weights and what is kept
    assert vit.tokens(IMAGES).equal(fresh(vit))


@torch.no_grad()
def test_functional_calls():
    networks = [frozen(), frozen()]
    wanted = [vit.tokens(IMAGES) for vit in networks]
    others = dict(networks[1].named_parameters())
    got = functional_call(networks[0], others, (IMAGES, ),
                          dict(out_type='raw'))[0]
    assert got.equal(wanted[1])
    assert networks[0].tokens(IMAGES).equal(wanted[0])
    stacked = stack_module_state(networks)
    got = vmap(lambda *state: functional_call(networks[0], state, (
        IMAGES, ), dict(out_type='raw'))[0])(*stacked)
    torch.testing.assert_close(got, torch.stack(wanted))


@torch.no_grad()
def test_images_of_any_size_are_no_leak(resized):
    vit, cache = frozen(), PosEmbedCache(max_grids=2)
    vit._pos_embed_cache = cache
    for width in (8, 16, 24, 40, 40, 24):
        vit.tokens(IMAGES[..., :width])
    assert resized == [(6, 1), (6, 2), (6, 3), (6, 5)]
    assert len(cache._resized) == 2


@pytest.mark.parametrize('mode', POS_EMBED_MODES)
def test_modes(mode, float64):
    stored = torch.randn(1, 17, 24)
    got = resize_pos_embed(stored, (4, 4), (7, 3), mode)
    assert got.shape == (1, 1 + 21, 24) and got[:, 0].equal(stored[:, 0])
    offset = .1 if 'offset' in mode else 0.
    maps = stored[:, 1:].mT.reshape(1, 24, 4, 4)
    wanted = torch.nn.functional.interpolate(
        maps,
        scale_factor=((7 + offset) / 4, (3 + offset) / 4),
        mode='bicubic',
        antialias='antialias' in mode)
    if not offset:
        wanted = torch.nn.functional.interpolate(
            maps, size=(7, 3), mode='bicubic', antialias='antialias' in mode)
    torch.testing.assert_close(got[:, 1:], wanted.flatten(2).mT)
