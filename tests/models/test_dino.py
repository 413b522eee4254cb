import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample

from mmdino.models import DINO
from mmdino.models.dino import target_monitors
from mmdino.registry import MODELS
from mmdino.weights import CheckpointError
from tests.ranks import run_ranks
from tests.tiny import model_cfg

RESNET = dict(
    type='mmpretrain.ResNet',
    depth=18,
    stem_channels=8,
    base_channels=8,
    norm_cfg=dict(type='BN'))
POOLING = dict(type='mmpretrain.GlobalAveragePooling')


def build(**changes) -> DINO:
    model = MODELS.build(model_cfg(**changes))
    model.init_weights()
    model.train()
    return model


def views(*sizes, batch=3, channels=3):
    return [torch.randn(batch, channels, size, size) for size in sizes]


def pairs_loss(student, teacher, center, student_temp, teacher_temp):
    """The formula, pair by pair."""
    losses = []
    for t, target in enumerate(teacher):
        q = F.softmax((target - center) / teacher_temp, -1)
        for s, logits in enumerate(student):
            if s != t:
                log_p = F.log_softmax(logits / student_temp, -1)
                losses.append(-(q * log_p).sum(-1).mean())
    return sum(losses) / len(losses)


def test_loss_is_the_formula_view_by_view():
    model = build()
    model.centering.center.normal_()
    inputs = views(32, 32, 16, 16, 16)
    out = model(inputs, mode='loss')
    student = [model.head(model.backbone(v)[0]) for v in inputs]
    teacher = [
        model.teacher.head(model.teacher.backbone(v)[0]) for v in inputs[:2]
    ]
    expected = pairs_loss(student, teacher, model.centering.center, .1, .04)
    torch.testing.assert_close(out['loss'], expected)
    torch.testing.assert_close(out['loss'].detach(),
                               out['kl'] + out['teacher_entropy'])
    assert not out['kl'].requires_grad
    for name, value in target_monitors(model.centering(
            torch.stack(teacher))).items():
        torch.testing.assert_close(out[name], value)


def test_a_loss_that_is_no_cross_entropy_logs_no_divergence():
    ours, theirs = (
        build(loss=dict(type=f'mmdino.{name}'))
        for name in ('MSELoss', 'DINOLoss'))
    theirs.load_state_dict(ours.state_dict())
    inputs = views(32, 32, 16)
    losses = [model(inputs, mode='loss') for model in (ours, theirs)]
    assert losses[1].keys() - losses[0].keys() == {'kl'}
    for name in ('teacher_entropy', 'largest_prototype', 'target_information'):
        assert torch.equal(losses[0][name], losses[1][name])


def test_target_monitors():
    uniform = target_monitors(torch.full((2, 6, 64), 1 / 64))
    torch.testing.assert_close(uniform['teacher_entropy'],
                               torch.tensor(64.).log())
    constant = torch.rand(64).softmax(0).expand(2, 6, 64)
    got = target_monitors(constant)
    assert got['target_information'].abs() < 1e-6
    torch.testing.assert_close(got['largest_prototype'], constant.max())
    # Each image has a prototype of its own, in both views.
    own = target_monitors(torch.eye(64)[:6].expand(2, 6, 64))
    torch.testing.assert_close(own['target_information'],
                               torch.tensor(6.).log())
    torch.testing.assert_close(own['largest_prototype'], torch.tensor(1 / 6))


def some_targets():
    generator = torch.Generator().manual_seed(0)
    return (3 * torch.randn(2, 6, 16, generator=generator)).softmax(-1)


def monitors_on_rank(rank, folder):
    own = some_targets()[:, 3 * rank:3 * rank + 3]
    torch.save(target_monitors(own), f'{folder}/{rank}.pt')


def test_monitors_are_those_of_all_ranks(tmp_path):
    """Their means over the ranks, as the log has them."""
    run_ranks(monitors_on_rank, tmp_path)
    ranks = [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)]
    for name, value in target_monitors(some_targets()).items():
        mean = sum(rank[name] for rank in ranks) / 2
        torch.testing.assert_close(mean, value, msg=name)


def test_one_backbone_pass_a_size_and_one_head_pass():
    model = build()
    seen = []
    for name in ('backbone', 'head'):
        for net, owner in ((model, 'student'), (model.teacher, 'teacher')):
            getattr(net, name).register_forward_pre_hook(
                lambda m, x, who=f'{owner}.{name}': seen.append(
                    (who, tuple(x[0].shape))))
    model(views(32, 32, 16, 16, 16), mode='loss')
    assert seen == [('teacher.backbone', (6, 3, 32, 32)),
                    ('teacher.head', (6, 24)),
                    ('student.backbone', (6, 3, 32, 32)),
                    ('student.backbone', (9, 3, 16, 16)),
                    ('student.head', (15, 24))]


def test_the_log_says_once_who_sees_what(monkeypatch):
    said, model = [], build()
    monkeypatch.setattr('mmdino.models.mean_teacher.print_log',
                        lambda message, logger: said.append(message))
    for _ in range(2):
        model(views(32, 32, 16, 16, 16), mode='loss')
    assert said == ['teacher: 2 views of 32 px, student: 5']


@pytest.mark.parametrize('sizes,message', [
    ((16, 32, 32), 'View 2 of 32 px is larger than view 1 of 16 px.*global'),
    ((32, 32, 16, 24), 'View 4 of 24 px is larger than view 3 of 16 px'),
])
def test_local_views_before_global_ones(sizes, message):
    with pytest.raises(ValueError, match=message):
        build()(views(*sizes), mode='loss')


def test_no_local_crops():
    model = build()
    loss = model(views(32, 32), mode='loss')['loss']
    assert loss.isfinite()


def test_teacher_starts_equal_has_no_gradient_and_follows():
    model = build()
    student = copy.deepcopy(dict(model.named_parameters()))
    for name, param in model.teacher.named_parameters():
        assert torch.equal(param, student[name]), name
        assert not param.requires_grad
    model(views(32, 32, 16), mode='loss')['loss'].backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    with torch.no_grad():
        for p in (*model.backbone.parameters(), *model.head.parameters()):
            p.add_(1)
    model.update_teacher(0.75)
    for name, param in model.teacher.named_parameters():
        torch.testing.assert_close(param, student[name] + .25)


def test_teacher_keeps_its_own_running_statistics():
    model = build(backbone=RESNET, neck=POOLING, head__use_bn=True)
    student, teacher = model.backbone.bn1, model.teacher.backbone.bn1
    assert student.training and teacher.training
    model(views(32, 32, 16, 16), mode='loss')
    assert not torch.equal(student.running_mean, teacher.running_mean)
    before = teacher.running_mean.clone()
    model.update_teacher(0.5)
    assert torch.equal(teacher.running_mean, before)


@pytest.mark.parametrize('decided,training', [
    (dict(norm_eval=True), [False, False, True]),
    (dict(frozen_stages=1), [False, True, True]),
    (dict(), [True, True, True]),
])
def test_the_teachers_batch_norm_follows_the_backbone(decided, training):
    model = build(
        backbone=dict(RESNET, **decided), neck=POOLING, head__use_bn=True)
    for network in (model, model.teacher):
        norms = (network.backbone.bn1, network.backbone.layer4[0].bn1,
                 network.head.mlp[1])
        assert [norm.training for norm in norms] == training
    model.eval()
    assert not any(module.training for module in model.modules())


def test_copies_into_the_same_tensors():
    model = build(backbone=RESNET, neck=POOLING, head__use_bn=True)
    model(views(32, 32, 16), mode='loss')
    before = dict(model.teacher.state_dict(keep_vars=True))
    with torch.no_grad():
        for p in (*model.backbone.parameters(), *model.head.parameters()):
            p.add_(1)
    model.copy_student()
    student = model.state_dict()
    for name, tensor in model.teacher.state_dict(keep_vars=True).items():
        assert tensor is before[name]
        assert torch.equal(tensor, student[name]), name


def test_teacher_has_no_stochastic_depth():
    model = build(
        backbone__drop_path_rate=0.9,
        backbone__drop_rate=0.5,
        backbone__layer_cfgs=dict(attn_drop_rate=0.5))
    images = torch.randn(64, 3, 32, 32)
    teacher = model.teacher.backbone
    assert torch.equal(teacher(images)[0], teacher(images)[0])
    assert not torch.equal(
        model.backbone(images)[0],
        model.backbone(images)[0])


@pytest.mark.parametrize('scope', [None, 'mmdino', 'mmengine', 'mmpretrain'])
def test_parts_are_ours_in_any_scope(scope):
    if scope is not None:
        DefaultScope.get_instance(f'in {scope}', scope_name=scope)
    current = DefaultScope.get_current_instance()
    assert scope == (current and current.scope_name)
    outer = '' if scope in (None, 'mmdino') else 'mmdino.'
    model = MODELS.build(
        dict(
            type=f'{outer}DINO',
            data_preprocessor=dict(mean=[127.5], std=[64.]),
            backbone=dict(
                type='VisionTransformer', arch='deit-tiny', in_channels=1),
            neck=dict(
                type='mmpretrain.LinearNeck',
                in_channels=192,
                out_channels=8,
                gap_dim=0),
            head=dict(type='DINOHead', out_dim=64),
            predictor=dict(type='Predictor', hidden_channels=8),
            centering=dict(type='MeanCentering'),
            loss=dict(type='DINOLoss')))
    for name in ('backbone', 'head', 'predictor', 'centering', 'loss_module',
                 'data_preprocessor'):
        part = getattr(model, name)
        assert type(part).__module__.startswith('mmdino.'), name
    assert model.head.in_channels == 8


@pytest.mark.parametrize('backbone,neck,width', [
    (dict(type='mmdino.VisionTransformer', arch='deit-tiny'), None, 192),
    (dict(type='mmdino.TimmBackbone',
          model_name='xcit_nano_12_p16_224'), None, 128),
    (dict(type='mmdino.TimmBackbone', model_name='convnext_atto'), None, 320),
    (RESNET, POOLING, 64),
])
def test_width_is_inferred(backbone, neck, width):
    model = MODELS.build(model_cfg(backbone=backbone, neck=neck))
    assert model.head.in_channels == width
    assert model.head.out_dim == model.centering.center.shape[1]


def test_features_and_predictions_are_the_teachers():
    model = build(predict_attention=True)
    with torch.no_grad():
        for p in model.backbone.parameters():
            p.add_(1)
    model.eval()
    images = torch.randn(2, 3, 32, 48)
    features = model(images)
    torch.testing.assert_close(features, model.teacher.backbone(images)[0])
    assert not features.requires_grad
    teacher, passes = model.teacher.backbone, []
    maps = teacher.class_attention(images)
    teacher.layers[0].register_forward_hook(lambda *args: passes.append(1))
    samples = model(images, [DataSample(), DataSample()], mode='predict')
    assert len(passes) == 1  # gives both
    torch.testing.assert_close(samples[1].feature, features[1])
    assert samples[0].attention.shape == (3, 4, 6)
    torch.testing.assert_close(samples[1].attention, maps[1])


def test_checkpoint_holds_both_networks_and_the_center():
    keys = {k.split('.')[0] for k in build().state_dict()}
    assert keys == {'backbone', 'head', 'teacher', 'centering'}
    assert 'teacher.backbone.cls_token' in build().state_dict()


@pytest.mark.parametrize('changes,message', [
    (dict(backbone=RESNET), r'ResNet yields \(1, 64, 7, 7\).*GlobalAverage'),
    (dict(backbone=RESNET, neck=POOLING,
          predict_attention=True), 'ResNet gives no attention'),
    (dict(loss__student_temp=-1), 'student_temp must be > 0, got -1'),
])
def test_errors(changes, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        MODELS.build(model_cfg(**changes))


def test_unknown_key_is_named():
    with pytest.raises(TypeError, match='head_typo'):
        MODELS.build(model_cfg(head_typo=1))


@pytest.mark.parametrize('channels', [1, 4])
def test_wrong_number_of_channels(channels):
    model = build()
    inputs = [v.to(torch.uint8) for v in views(32, 32, channels=channels)]
    with pytest.raises(ValueError, match=f'3 channels.*, {channels}, 32, 32'):
        model.data_preprocessor(dict(inputs=inputs, data_samples=[]))


def test_crops_that_are_no_multiple_of_the_patch():
    with pytest.raises(
            ValueError,
            match='image height 20 is not a multiple '
            'of the patch size 8: use 16 or 24'):
        build()(views(32, 32, 20), mode='loss')


def test_all_of_a_model_is_loaded_or_nothing(tmp_path):
    model = build()
    model.centering.center.normal_()
    with torch.no_grad():
        for weight in model.teacher.parameters():
            weight.add_(1.)
    path, state = str(tmp_path / 'all.pth'), model.state_dict()
    torch.save(dict(state_dict=state), path)
    pretrained = dict(type='Pretrained', checkpoint=path)
    other = build(init_cfg=pretrained)
    for key, value in other.state_dict().items():
        assert value.equal(state[key]), key
    torch.save(
        dict(
            state_dict={
                key.replace('layers.1.', 'blocks.1.'): value
                for key, value in state.items()
            }), path)
    with pytest.raises(CheckpointError, match='model.init_cfg'):
        build(init_cfg=pretrained)
