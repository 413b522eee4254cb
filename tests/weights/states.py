"""State dicts in others' spelling, of networks as small as there are."""
import argparse
from functools import lru_cache

import timm
import torch
import torchvision

from tests import golden

NUM_HEADS = 3  # of the golden ViT
PROTOTYPES = 64


def vary(state):
    """Other numbers in every tensor, near those before."""
    return {
        key:
        value * (1 + .1 * torch.randn_like(value)) +
        .01 * torch.rand_like(value) if value.is_floating_point() else value +
        7
        for key, value in state.items()
    }


def vit():
    return _golden('vit')


@lru_cache
def xcit():
    """timm's spelling."""
    model = timm.create_model('xcit_nano_12_p16_224', num_classes=0)
    return vary(model.state_dict())


@lru_cache
def resnet():
    """Normalised by what its BatchNorm layers see, as after training."""
    model = torchvision.models.resnet50()
    model.fc = torch.nn.Identity()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1
    with torch.no_grad():
        model(torch.randn(8, 3, 64, 64))
    return model.state_dict()


def head(width, use_bn=False):
    """A DINO head with the authors' legacy names."""
    layers = [torch.nn.Linear(width, 32), torch.nn.GELU()]
    if use_bn:
        layers.insert(1, torch.nn.BatchNorm1d(32))
    mlp = torch.nn.Sequential(*layers, torch.nn.Linear(32, 16))
    return {
        **{
            f'mlp.{key}': value
            for key, value in mlp.state_dict().items()
        }, 'last_layer.weight_g': torch.ones(PROTOTYPES, 1),
        'last_layer.weight_v': torch.randn(PROTOTYPES, 16)
    }


def full(backbone, width, use_bn=False):
    """What the authors' training saves."""
    networks = {}
    for name in ('student', 'teacher'):
        prefix = 'module.' if name == 'student' or use_bn else ''
        parts = dict(backbone=vary(backbone), head=head(width, use_bn))
        networks[name] = {
            f'{prefix}{part}.{key}': value
            for part, tensors in parts.items()
            for key, value in tensors.items()
        }
    return dict(
        networks,
        optimizer=dict(state={}, param_groups=[dict(lr=0.1)]),
        epoch=100,
        args=argparse.Namespace(arch='vit_small', out_dim=PROTOTYPES),
        fp16_scaler=None,
        dino_loss=dict(center=torch.randn(1, PROTOTYPES)))


def dinov2(name):
    """The authors' names; 'plain', 'registers' or 'swiglu' with registers."""
    return _golden(f'v2_vit_{name}', golden.GOLDEN_V2)


def chunked(backbone, size=1):
    """As a training with FSDP names its blocks."""

    def name(key):
        if not key.startswith('blocks.'):
            return key
        block = key.split('.')[1]
        return key.replace('blocks.', f'blocks.{int(block) // size}.', 1)

    return {name(key): value for key, value in backbone.items()}


def dinov2_network(backbone, separate=True):
    """One network of the authors' training of DINOv2."""
    width = backbone['cls_token'].shape[-1]
    parts = dict(backbone=vary(backbone), dino_head=head(width))
    if separate:
        parts['ibot_head'] = head(width)
    return {
        f'{part}.{key}': value
        for part, tensors in parts.items()
        for key, value in tensors.items()
    }


def dinov2_training(backbone, separate=True):
    """What the authors' training of DINOv2 saves, were it not in shards."""
    model = {
        f'{name}.{key}': value
        for name in ('student', 'teacher')
        for key, value in dinov2_network(backbone, separate).items()
    }
    model['dino_loss.center'] = torch.randn(1, PROTOTYPES)
    model['ibot_patch_loss.center'] = torch.randn(1, 1, PROTOTYPES)
    return dict(model=model, optimizer=dict(state={}), iteration=1249)


def ibot(separate=False):
    """What the authors' training of iBOT saves."""
    checkpoint = full(vit(), 24)
    for name, prefix in (('student', 'module.'), ('teacher', '')):
        for part in ('weight_g', 'weight_v'):
            tensor = checkpoint[name][f'{prefix}head.last_layer.{part}']
            checkpoint[name][f'{prefix}head.last_layer2.{part}'] = (
                vary({part: tensor})[part] if separate else tensor)
    checkpoint['student']['module.backbone.masked_embed'] = torch.randn(1, 24)
    del checkpoint['dino_loss']
    checkpoint['ibot_loss'] = dict(
        center=torch.randn(1, PROTOTYPES),
        center2=torch.randn(1, 1, PROTOTYPES))
    return checkpoint


def _golden(name, folder=golden.GOLDEN):
    data = golden.load(golden.files(f'{name}.npz', folder)[0])
    return {
        key.removeprefix('state.'): torch.from_numpy(value).float()
        for key, value in data.items() if key.startswith('state.')
    }
