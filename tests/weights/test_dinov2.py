"""ViTs of DINOv2's kind, and iBOT's, in the names of all libraries."""
import importlib
import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.distributed._shard.sharded_tensor import ShardedTensorMetadata

from mmdino.apis import FeatureExtractor
from mmdino.apis.compare import BOUND, check_conversion, image_sizes
from mmdino.engine.configs import read_config
from mmdino.engine.testing import fill_sizes
from mmdino.models import FrozenTeacher
from mmdino.weights import (CheckpointError, convert, convert_file,
                            load_checkpoint, open_weights, resolve_network)
from mmdino.weights.formats import FORMATS, recognise
from mmdino.weights.infer import backbone_cfg, build_empty, kind_of
from mmdino.weights.keys import strip_prefix
from tests import golden
from tests.weights import states
from tests.weights.test_conversion import same

NAMES = ('plain', 'registers', 'swiglu')
# Where networks of each kind may go, and where without the mask token.
PLACES = dict(
    plain=('dinov2', 'mmdino', 'hf', 'ibot'),
    registers=('dinov2', 'mmdino', 'hf'),
    swiglu=('dinov2', 'mmdino', 'hf'))
WITHOUT_MASKS = dict(
    plain=('timm', 'mmpretrain'), registers=('timm', ), swiglu=('timm', ))


@pytest.fixture
def said(monkeypatch):
    """What the log gets."""
    lines = []
    for name in ('formats', 'formats.format', 'formats.ibot', 'network',
                 'foreign', 'convert'):
        monkeypatch.setattr(
            importlib.import_module(f'mmdino.weights.{name}'), 'print_log',
            lambda text, **kwargs: lines.append(text))
    return lines


def small(**kwargs):
    """timm's ViT of patch 14 with random weights, layer scale included."""
    torch.manual_seed(0)
    vit = timm.models.vision_transformer.VisionTransformer(
        **{
            **dict(
                img_size=70,
                patch_size=14,
                embed_dim=48,
                depth=2,
                num_heads=3,
                init_values=.1,
                num_classes=0),
            **kwargs
        })
    return states.vary(vit.state_dict())


def swiglu(**kwargs):
    return small(
        mlp_layer=timm.layers.SwiGLUPacked,
        act_layer=torch.nn.SiLU,
        mlp_ratio=2 * 128 / 48 + .01,
        **kwargs)


def registers(**kwargs):
    return small(reg_tokens=4, no_embed_class=True, **kwargs)


@pytest.mark.parametrize('name', NAMES)
def test_round_trips(name):
    state = states.dinov2(name)
    files = {f: convert(state, 'dinov2', f) for f in PLACES[name]}
    assert same(files['dinov2'], state)
    for source, held in files.items():
        assert recognise(held, 'a.pth') == source
        for target in files:
            assert same(convert(held, source, target), files[target])


@pytest.mark.parametrize('name', NAMES)
def test_round_trips_without_a_mask_token(name, said):
    """From a library without it: bit for bit, but for the sum of timm's."""
    state = states.dinov2(name)
    lacking = {k: v for k, v in state.items() if k != 'mask_token'}
    for target in WITHOUT_MASKS[name]:
        said.clear()
        held = convert(state, 'dinov2', target)
        assert f'{target} has no place for the mask token' in said[0]
        assert recognise(held, 'a.pth') == target
        assert same(convert(held, target, target), held)
        assert same(
            convert(convert(held, target, 'mmdino'), 'mmdino', target), held)
        back = convert(held, target, 'dinov2')
        assert 'dinov2 needs a mask token' in said[-1]
        assert not back.pop('mask_token').any()
        if 'register_tokens' in state:
            assert any('timm stores the sum of the class token' in line
                       for line in said)
            tokens = back['cls_token'] + back['pos_embed'][:, :1]
            assert torch.equal(tokens,
                               state['cls_token'] + state['pos_embed'][:, :1])
            for key in ('cls_token', 'pos_embed'):
                back[key] = lacking[key]
        assert same(back, lacking)


@pytest.mark.parametrize('name', NAMES)
def test_a_published_file_computes_what_the_authors_do(name, tmp_path):
    """The figures that the authors' code gave, through the one door."""
    path = str(tmp_path / 'a.pth')
    torch.save(states.dinov2(name), path)
    teacher = FrozenTeacher(path, num_heads=3)
    mode = dict(plain='offset').get(name, 'antialias')
    assert teacher.backbone.pos_embed_mode == mode
    if name == 'swiglu':  # recorded so
        teacher.backbone.pos_embed_mode = 'offset'
    data = golden.load(golden.files(f'v2_vit_{name}.npz', golden.GOLDEN_V2)[0])
    for size in ('square', 'small', 'wide', 'large'):
        images = torch.from_numpy(data[f'{size}.input']).float()
        expected = torch.from_numpy(data[f'{size}.x_norm_clstoken'])
        with torch.no_grad():
            features = teacher.features(images)
        assert (features - expected).abs().max() < BOUND


@pytest.mark.parametrize(
    'target', [f for f in FORMATS if f not in ('torchvision', 'official')])
@pytest.mark.parametrize('make', [small, registers, swiglu])
def test_the_other_library_computes_the_same(make, target, tmp_path):
    if target == 'hf':
        pytest.importorskip('transformers')
    source = str(tmp_path / 'timm.pth')
    torch.save(make(), source)
    convert_there = dict(
        source_path=source,
        target_path=str(tmp_path / target / 'model.safetensors'),
        source=None,
        target=target,
        num_heads=3)
    kind = {small: (), registers: ('registers', ), swiglu: ('SwiGLU', )}[make]
    if {*kind} - {*FORMATS[target].parts}:
        with pytest.raises(
                CheckpointError,
                match=f'{target} has no place for '
                f'a vit with .*{kind[0]}.*convert to dinov2'):
            convert_file(**convert_there)
        return
    done = convert_file(**convert_there)
    found = list(check_conversion(done))
    assert [d.size for d in found[-4:]] == [(70, 70), (28, 28), (56, 84),
                                            (98, 98)]
    assert {d.format for d in found} == {'timm', target}
    assert max(d.largest for d in found) < BOUND
    network = open_weights(done.path).network['backbone']
    assert network['patch_size'] == 14
    assert network['pos_embed_mode'] == 'antialias'
    again = FrozenTeacher(done.path)
    images = torch.randn(2, 3, 56, 84)
    with torch.no_grad():
        expected = FrozenTeacher(source, num_heads=3).features(images)
        assert torch.equal(again.features(images), expected)


def test_sizes_to_check_of_the_real_networks():
    backbone = dict(
        type='mmdino.VisionTransformer',
        arch='deit-small',
        patch_size=14,
        img_size=518,
        layer_scale_init_value=1e-5)
    network = dict(backbone=backbone, preprocessing=dict(size=518))
    sizes = [*image_sizes(network, kind_of(network)[0])]
    assert sizes == [(518, 518), (224, 224), (504, 532), (546, 546)]


@pytest.mark.parametrize('size', ['small', 'base', 'large', 'giant'])
@pytest.mark.parametrize('reg', ['', '_reg4'])
def test_real_sizes(size, reg):
    """Names and shapes of timm's and transformers' networks, no memory."""
    with torch.device('meta'):
        vit = timm.create_model(
            f'vit_{size}_patch14{reg}_dinov2', num_classes=0)
    theirs = vit.state_dict()
    ours = strip_prefix(convert(theirs, 'timm', 'mmdino'), 'backbone.')
    cfg = backbone_cfg(ours)
    network = build_empty(cfg)
    assert cfg['img_size'] == 518 and cfg['patch_size'] == 14
    assert network.layers[0].attn.num_heads == vit.blocks[0].attn.num_heads
    assert network.num_registers == (4 if reg else 0)
    assert network.mask_token is None
    expected = {k: v.shape for k, v in network.state_dict().items()}
    assert expected == {k: v.shape for k, v in ours.items()}
    back = convert(theirs, 'timm', 'timm')
    assert shapes(back) == shapes(theirs)
    hf = convert(theirs, 'timm', 'hf')
    transformers = pytest.importorskip('transformers')
    from mmdino.weights.formats.hf import vit_config
    told = vit_config(dict(backbone=cfg))
    model = getattr(transformers, told['architectures'][0])
    config = getattr(transformers,
                     told['architectures'][0].replace('Model', 'Config'))
    assert told['mlp_ratio'] == 4
    with torch.device('meta'):
        twin = model(config(**told))
    assert sum(v.numel() for v in hf.values()) == sum(
        v.numel() for v in twin.state_dict().values())


def shapes(state):
    return {key: tuple(value.shape) for key, value in state.items()}


@pytest.mark.parametrize('separate', [True, False])
@pytest.mark.parametrize('name', ['plain', 'swiglu'])
def test_training(name, separate, tmp_path):
    held = states.dinov2_training(states.dinov2(name), separate)
    path, target = str(tmp_path / 'a.pth'), str(tmp_path / 'b.pth')
    torch.save(held, path)
    convert_file(path, target, None, 'mmdino', num_heads=3)
    ours = load_checkpoint(target)['state_dict']
    assert ours['patch_centering.center'].shape == (1, states.PROTOTYPES)
    assert ('teacher.patch_head.mlp.0.weight' in ours) == separate
    assert torch.equal(
        ours['teacher.head.last_layer.parametrizations.weight.original1'],
        held['model']['teacher.dino_head.last_layer.weight_v'])
    back = convert(ours, 'mmdino', 'dinov2')
    assert back.keys() == {'model'} and same(back['model'], held['model'])
    lone = convert(held, 'dinov2', 'dinov2', which='student')
    assert same(lone, strip_prefix(held['model'], 'student.backbone.'))


def test_training_in_chunks(tmp_path):
    backbone = states.dinov2('plain')
    whole = states.dinov2_training(backbone)
    for prefix in ('student', 'teacher'):
        part = strip_prefix(whole['model'], f'{prefix}.backbone.')
        assert 'blocks.0.1.norm1.bias' in states.chunked(part, 2)
        assert same(
            convert(states.chunked(part, 2), 'dinov2', 'mmdino'),
            convert(part, 'dinov2', 'mmdino'))
    held = dict(
        whole,
        model={
            f'{name}.backbone.{key}': value
            for name in ('student', 'teacher')
            for key, value in states.chunked(
                strip_prefix(whole['model'], f'{name}.backbone.')).items()
        })
    held['model'].update({
        k: v
        for k, v in whole['model'].items() if '.backbone.' not in k
    })
    assert same(
        convert(held, 'dinov2', 'mmdino'), convert(whole, 'dinov2', 'mmdino'))


def test_teacher_of_a_training(tmp_path):
    held = dict(teacher=states.dinov2_network(states.dinov2('registers')))
    assert recognise(held, 'a.pth') == 'dinov2'
    ours = convert(held, 'dinov2', 'mmdino')
    assert torch.equal(ours['patch_head.mlp.0.bias'],
                       held['teacher']['ibot_head.mlp.0.bias'])
    back = convert(ours, 'mmdino', 'dinov2')
    assert back.keys() == {'teacher'}
    assert same(back['teacher'], held['teacher'])


@pytest.mark.parametrize('separate', [True, False])
def test_ibot(separate, tmp_path, said):
    held = states.ibot(separate)
    path, target = str(tmp_path / 'a.pth'), str(tmp_path / 'b.pth')
    torch.save(held, path)
    done = convert_file(path, target, None, 'mmdino', num_heads=3)
    assert done.source.format == 'ibot'
    ours = load_checkpoint(target)
    assert ours['meta']['network']['backbone']['with_mask_token']
    assert ours['meta']['network']['backbone']['pos_embed_mode'] == 'offset'
    ours = ours['state_dict']
    assert ('patch_head.mlp.0.weight' in ours) == separate
    assert any('share their MLP' in line for line in said) == separate
    assert torch.equal(ours['backbone.mask_token'],
                       ours['teacher.backbone.mask_token'])
    back = convert(ours, 'mmdino', 'ibot')
    assert same(back, {key: held[key] for key in back})
    student = convert(held, 'ibot', 'ibot', which='student')
    assert recognise(student, 'a.pth') == 'ibot'
    assert same(student, strip_prefix(held['student'], 'module.backbone.'))


@pytest.mark.parametrize('target',
                         ['ibot', 'official', 'timm', 'hf', 'mmpretrain'])
def test_ibot_goes_where_a_vit_goes(target, tmp_path):
    if target == 'hf':
        pytest.importorskip('transformers')
    path = str(tmp_path / 'a.pth')
    torch.save(states.ibot(), path)
    done = convert_file(
        path,
        str(tmp_path / 'b/model.safetensors'),
        None,
        target,
        which='student',
        num_heads=3)
    found = list(check_conversion(done))
    assert {d.format for d in found} == {'ibot', target}
    assert max(d.largest for d in found) < BOUND


@pytest.mark.parametrize('kind', ['plain', 'registers', 'swiglu', 'task'])
def test_files_of_transformers(kind, tmp_path):
    """Written by its own save_pretrained, with its config.json alone."""
    transformers = pytest.importorskip('transformers')
    sizes = dict(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        image_size=56,
        patch_size=14,
        layer_norm_eps=1e-5)
    name, more = dict(
        plain=('Dinov2Model', dict(use_mask_token=False)),
        registers=('Dinov2WithRegistersModel', {}),
        swiglu=('Dinov2Model', dict(use_swiglu_ffn=True)),
        task=('Dinov2WithRegistersForImageClassification', {}))[kind]
    config = name.partition('Model')[0].partition('For')[0] + 'Config'
    torch.manual_seed(0)
    model = getattr(transformers, name)(getattr(transformers,
                                                config)(**sizes,
                                                        **more)).eval()
    model.load_state_dict(states.vary(model.state_dict()))
    model.save_pretrained(tmp_path)
    path = str(tmp_path / 'model.safetensors')
    weights = open_weights(path)
    assert weights.format == 'hf'
    backbone = resolve_network(weights)['backbone']
    assert backbone['norm_cfg']['eps'] == 1e-5
    mode = 'antialias' if 'Registers' in name else 'size'
    assert backbone['pos_embed_mode'] == mode
    assert backbone.get('with_mask_token', False) == (kind != 'plain')
    teacher = FrozenTeacher(path)
    lone = getattr(model, 'dinov2_with_registers', model)
    for size in ((56, 56), (28, 84), (112, 70)):
        images = torch.randn(2, 3, *size)
        with torch.no_grad():
            theirs = lone(images).last_hidden_state[:, 0]
            assert (teacher.features(images) - theirs).abs().max() < BOUND
    target = str(tmp_path / 'back/model.safetensors')
    convert_file(path, target, None, 'hf')
    held = load_checkpoint(path)
    read = load_checkpoint(target)['state_dict']
    assert same(
        read, {
            key.removeprefix('dinov2_with_registers.'): value
            for key, value in held.items() if 'classifier' not in key
        })


@pytest.mark.parametrize('name', [
    'vit_small_patch14_dinov2', 'vit_base_patch14_reg4_dinov2',
    'vit_giant_patch14_reg4_dinov2'
])
@pytest.mark.parametrize('classes', [0, 5])
def test_files_of_timm(name, classes, tmp_path):
    """Whose config.json tells the heads: networks of ours all the same."""
    kwargs = dict(depth=2, embed_dim=48, num_heads=6, img_size=70)
    torch.manual_seed(0)
    model = timm.create_model(
        name, num_classes=classes, dynamic_img_size=True, **kwargs).eval()
    model.load_state_dict(states.vary(model.state_dict()))
    path = str(tmp_path / 'model.safetensors')
    save_file(model.state_dict(), path)
    (tmp_path / 'config.json').write_text(
        json.dumps(dict(architecture=name, model_args=kwargs)))
    teacher = FrozenTeacher(path)
    assert type(teacher.backbone).__name__ == 'VisionTransformer'
    assert teacher.backbone.pos_embed_mode == 'antialias'
    for size in ((70, 70), (28, 84), (112, 70)):
        images = torch.randn(2, 3, *size)
        with torch.no_grad():
            theirs = model.forward_features(images)[:, 0]
            assert (teacher.features(images) - theirs).abs().max() < BOUND


def errors():
    plain, reg = states.dinov2('plain'), states.dinov2('registers')
    training = states.dinov2_training(plain)
    ibot, separate = states.ibot(), states.ibot(True)
    lacking = dict(reg)
    del lacking['blocks.1.ls2.gamma']
    ours = convert(separate, 'ibot', 'mmdino')
    ours['patch_head.mlp.0.bias'] = ours['patch_head.mlp.0.bias'] + 1
    return [
        (reg, 'dinov2', 'mmpretrain', 'no place for a vit with registers'),
        (reg, 'dinov2', 'official', 'no place.*convert to dinov2, hf, timm'),
        (reg, 'dinov2', 'ibot', 'no place for a vit with registers'),
        (states.dinov2('swiglu'), 'dinov2', 'ibot', 'SwiGLU'),
        (lacking, 'dinov2', 'mmdino', "missing 'layers.1.ffn.gamma2.weight'"),
        (dict(reg, norm_pre=reg['norm.bias']), 'dinov2', 'mmdino',
         "no place for 'norm_pre'"),
        (dict(training, extra=1), 'dinov2', 'mmdino', "no 'extra'"),
        (dict(model={
            **training['model'], 'student.gram_head.a': torch.zeros(1)
        }), 'dinov2', 'mmdino', "no 'gram_head.a'"),
        (dict(model={
            **training['model'], 'koleo': torch.zeros(1)
        }), 'dinov2', 'mmdino', "no 'koleo'"),
        (dict(
            model={
                k: v
                for k, v in training['model'].items()
                if not k.startswith('teacher')
            }), 'dinov2', 'mmdino', 'no teacher'),
        (dict(model={'student.backbone._flat_param': torch.zeros(1)}),
         'dinov2', 'mmdino', "one rank's share.*teacher_checkpoint"),
        (dict(ibot, extra=1), 'ibot', 'mmdino', "no 'extra'"),
        (dict(ibot_loss=1), 'ibot', 'mmdino', "lacks 'student', 'teacher'"),
        (convert(training, 'dinov2', 'mmdino'), 'mmdino', 'ibot',
         'share their MLP, but patch_head.*--which'),
        (ours, 'mmdino', 'ibot', 'share their MLP'),
        (states.vit(), 'official', 'dinov2', 'no place for a vit'),
    ]


@pytest.mark.parametrize('case', errors())
def test_errors(case):
    state, source, target, message = case
    with pytest.raises(CheckpointError, match=message):
        convert(state, source, target)


def test_a_share_of_a_sharded_training_is_refused_by_name(tmp_path):
    path = str(tmp_path / 'model_0001249.rank_0.pth')
    torch.save(dict(model=dict(a=ShardedTensorMetadata())), path)
    with pytest.raises(CheckpointError, match="one rank's share.*teacher_ch"):
        open_weights(path)


@pytest.mark.parametrize('names', [
    ('embeddings.cls_token', 'layer.0.attention.q_proj.weight'),
    ('cls_token', 'storage_tokens', 'mask_token', 'blocks.0.ls1.gamma',
     'blocks.0.norm1.weight'),
])
def test_dinov3_of_others_is_refused_by_name(names, tmp_path):
    save_file({name: torch.zeros(1)
               for name in names}, tmp_path / 'model.safetensors')
    with pytest.raises(CheckpointError, match='DINOv3.*timm:NAME'):
        open_weights(str(tmp_path / 'model.safetensors'))


def test_a_full_checkpoint_with_patch_heads_is_none_of_dinos():
    ours = convert(states.ibot(), 'ibot', 'mmdino')
    with pytest.raises(CheckpointError, match="patch_centering.center.*which"):
        convert(ours, 'mmdino', 'official')


@pytest.mark.parametrize('name, kwargs', [
    ('vit_small_patch16_dinov3', dict(depth=2, embed_dim=48, num_heads=3)),
    ('convnext_tiny', dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))),
    ('vit_base_patch16_clip_224', dict(depth=1, embed_dim=48, num_heads=3)),
    ('deit3_small_patch16_224', dict(depth=1, embed_dim=48, num_heads=3)),
    ('vit_base_patch16_224',
     dict(depth=1, embed_dim=48, num_heads=3, global_pool='avg')),
])
@pytest.mark.parametrize('classes', [0, 5])
def test_other_models_of_timm(name, kwargs, classes, tmp_path):
    """They stay timm's, by the config.json beside the file."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=classes, **kwargs).eval()
    model.load_state_dict(states.vary(model.state_dict()))
    path = str(tmp_path / 'model.safetensors')
    save_file(model.state_dict(), path)
    (tmp_path / 'config.json').write_text(
        json.dumps(
            dict(architecture=name, num_classes=classes, model_args=kwargs)))
    teacher = FrozenTeacher(path)
    assert type(teacher.backbone).__name__ == 'TimmBackbone'
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        theirs = model.forward_features(images)
        features = teacher.features(images)
        if 'dinov3' in name:  # the class token, not timm's average
            assert torch.equal(features, theirs[:, 0])
            assert teacher.backbone.tokens(images).shape == (2, 1 + 4 + 196,
                                                             48)
        else:
            expected = model.forward_head(theirs, pre_logits=True)
            assert torch.equal(features, expected)
    done = convert_file(path, str(tmp_path / 'b.safetensors'), None, 'timm')
    assert max(d.largest for d in check_conversion(done)) < BOUND
    if not classes:
        assert same(
            load_checkpoint(done.path)['state_dict'], load_checkpoint(path))


@pytest.mark.parametrize('make', [small, swiglu, registers])
def test_size_of_the_images(make, tmp_path, said):
    """Adapted to 518 px, evaluated by the authors with 224 px."""
    path = str(tmp_path / 'a.pth')
    torch.save(make(img_size=518), path)
    teacher = FrozenTeacher(path, num_heads=3)
    assert teacher.backbone.img_size == (518, 518)
    assert teacher.preprocessing['size'] == 224
    assert sum('adapted to images of 518 px. Here they are 224 px' in line
               for line in said) == 1
    pixels = np.zeros((300, 400, 3), np.uint8)
    extract = FeatureExtractor(teacher)
    assert extract.prepare([pixels])['inputs'].shape == (1, 3, 224, 224)
    cfg = read_config('configs/benchmarks/knn.py')
    cfg.model.update(checkpoint=path, backbone=teacher.network_cfg['backbone'])
    fill_sizes(cfg)
    assert cfg.test_dataloader.dataset.pipeline[1].size == 224
    torch.save(make(img_size=98), path)
    assert FrozenTeacher(path, num_heads=3).preprocessing['size'] == 98


def test_size_of_the_images_of_dinov3(tmp_path):
    name, model, cfg = 'vit_small_patch16_dinov3', dict(
        depth=2, embed_dim=48, num_heads=3), dict(input_size=[3, 256, 256])
    vit = timm.create_model(name, num_classes=0, **model)
    save_file(vit.state_dict(), tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text(
        json.dumps(
            dict(architecture=name, model_args=model, pretrained_cfg=cfg)))
    teacher = FrozenTeacher(str(tmp_path))
    assert teacher.backbone.img_size == (256, 256)
    assert teacher.preprocessing['size'] == 224
    sizes = [*image_sizes(teacher.network_cfg, 'timm')]
    assert sizes == [(256, 256), (224, 224), (240, 272), (288, 288)]
