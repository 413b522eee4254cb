"""What a DINOv2 does beside what its authors' figures show."""
import copy

import pytest
import torch
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.runner import Runner

from mmdino.engine.configs import read_config
from mmdino.engine.launch import build_runner
from mmdino.engine.longrun.replay import replay
from mmdino.models import FrozenTeacher, total_loss
from mmdino.models.backbones.position_embeddings import resize_pos_embed
from mmdino.registry import MODELS
from tests.resuming import StopAfter, assert_same, end_of, random_cfg
from tests.resuming import train as train_and_resume
from tests.tiny import MODEL, RandomViews, model_cfg, runner_cfg
from tests.tiny_v2 import HEAD, V2, as_dinov2

SINKHORN = dict(type='mmdino.SinkhornKnopp')


def build(**changes):
    model = MODELS.build(model_cfg(**{**V2, **changes}))
    model.init_weights()
    return model.double().train()


def some_views(images=4):
    batch = [RandomViews()[i]['inputs'] for i in range(images)]
    return [torch.stack(view).double() / 255 for view in zip(*batch)]


def outputs_of(model, views=None, seed=0):
    torch.manual_seed(seed)
    return model(views or some_views(), mode='loss')


def gradients(model):
    total_loss(outputs_of(model)).backward()
    return {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def copy_of(model, **changes):
    """Other settings, the same weights."""
    other = build(**changes)
    other.load_state_dict(model.state_dict())
    for centering in other.centerings:
        centering.temperature = .05
    for centering in model.centerings:
        centering.temperature = .05
    return other


@pytest.mark.parametrize('changes', [
    dict(),
    dict(patch_head=None),
    dict(center_all_patches=True),
    dict(patch_centering=SINKHORN),
    dict(patch_centering=SINKHORN, patch_head=None),
])
def test_chunks_are_the_whole(changes):
    whole = build(**changes)
    chunked = copy_of(whole, **changes, tokens_per_chunk=3, images_per_chunk=3)
    results = []
    for model in (whole, chunked):
        outputs = outputs_of(model)
        grads = gradients(model)
        for centering in model.centerings:
            centering.update()
        results.append((outputs, grads, dict(model.named_buffers())))
    for pair in zip(*results):
        assert pair[0].keys() == pair[1].keys()
        for name, value in pair[0].items():
            torch.testing.assert_close(
                pair[1][name], value, rtol=1e-9, atol=1e-9, msg=name)


def test_every_parameter_has_a_gradient_also_without_masks():
    masking = dict(type='mmdino.BlockMasking', probability=0.)
    model = build(masking=masking)
    for name, grad in gradients(model).items():
        assert grad is not None and grad.isfinite().all(), name
        if 'patch_head' in name or 'mask_token' in name:
            assert not grad.any(), name
    assert outputs_of(model)['masked_share'] == 0


def test_what_the_student_sees():
    """A masked patch is hidden from it, not from the teacher."""
    model, seen = build(), {}

    def note(name):

        def hook(module, args, kwargs, output):
            seen.setdefault(name, []).append(args[1:])

        return hook

    model.backbone.register_forward_hook(note('student'), with_kwargs=True)
    model.teacher.backbone.register_forward_hook(
        note('teacher'), with_kwargs=True)
    outputs_of(model)
    assert seen['teacher'] == [(None, )]
    masks = seen['student'][0][0]
    assert masks.shape == (8, 16) and masks.any(1).sum() == 4
    assert seen['student'][1] == ()  # local views are whole


def test_masks_differ_by_iteration_and_come_back_by_seed():
    model = build()
    first, again, other = (
        outputs_of(model, seed=seed)['loss_patch'] for seed in (0, 0, 1))
    assert first == again != other


def test_center_of_all_patches():
    model = build(center_all_patches=True)
    views = some_views()
    outputs_of(model, views)
    tokens = model.teacher.backbone(
        torch.cat(views[:2]), out_type='raw')[0][:, 2:]
    mean = model.teacher.patch_head(tokens.flatten(0, 1)).mean(0)
    model.patch_centering.update()
    torch.testing.assert_close(model.patch_centering.center[0], .1 * mean)


def test_monitors_are_those_of_the_masked_patches():
    model = build(patch_centering=dict(type='mmdino.NoCentering'))
    kept = []
    model.patch_centering.register_forward_hook(
        lambda module, args, output: kept.append(output))
    outputs = outputs_of(model)
    targets, = kept
    entropies = torch.special.entr(targets).sum(-1)
    mean = targets.mean(0)
    information = torch.special.entr(mean).sum() - entropies.mean()
    for name, value in dict(
            patch_teacher_entropy=entropies.mean(),
            patch_largest_prototype=mean.max(),
            patch_target_information=information,
            masked_share=torch.tensor(len(targets) / 128.)).items():
        torch.testing.assert_close(outputs[name], value.double(), msg=name)


def test_the_losses_are_weighted_and_summed():
    model = build()
    other = copy_of(model, patch_weight=3., koleo_weight=.5)
    ours, theirs = outputs_of(model), outputs_of(other)
    torch.testing.assert_close(theirs['loss_patch'], 3 * ours['loss_patch'])
    torch.testing.assert_close(theirs['loss_koleo'], 5 * ours['loss_koleo'])
    assert theirs['loss_cls'] == ours['loss_cls']
    names = {name for name in ours if 'loss' in name}
    assert names == {'loss_cls', 'loss_patch', 'loss_koleo'}
    total, log = model.parse_losses(ours)
    torch.testing.assert_close(total, total_loss(ours))
    torch.testing.assert_close(log['loss'], total.detach())


def test_without_local_views_and_with_one_size():
    model = build()
    outputs = outputs_of(model, some_views()[:2])
    assert total_loss(outputs).isfinite()


def test_duplicates_are_logged():
    views = [view[[0, 1, 1, 2]] for view in some_views()]
    model = build(masking=dict(type='mmdino.BlockMasking', probability=0.))
    assert outputs_of(model, views)['koleo_duplicates'] == .5


def teacher_of(model):
    return {n: p.clone() for n, p in model.teacher.named_parameters()}


def test_the_teacher_has_both_heads_and_follows():
    model = build()
    for (name, ours), theirs in zip(model._student().named_parameters(),
                                    model.teacher.parameters()):
        assert torch.equal(ours, theirs), name
    before = teacher_of(model)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.)
    for p, q in zip(model.teacher.parameters(), before.values()):
        p.data.copy_(q)
    model.update_teacher(.75)
    for name, p in model.teacher.named_parameters():
        torch.testing.assert_close(p, before[name] + .25, msg=name)
    assert 'patch_head.last_layer.parametrizations.weight.original1' in before


@pytest.mark.parametrize('changes,message', [
    (dict(neck=dict(type='mmpretrain.GlobalAveragePooling')), 'neck'),
    (dict(patch_head=dict(HEAD, use_bn=True)), 'set use_bn=False'),
    (dict(patch_head=None, head__use_bn=True), 'set use_bn=False'),
    (dict(center_all_patches=True,
          patch_centering=SINKHORN), 'SinkhornKnopp does not'),
    (dict(tokens_per_chunk=0), 'at least 1, got 0'),
    (dict(
        tokens_per_chunk=4,
        patch_head=dict(type='mmdino.MLPHead', out_dim=8,
                        hidden_channels=8)), 'MLPHead does not have both'),
    (dict(tokens_per_chunk=4,
          patch_loss=dict(type='mmdino.MSELoss')), 'MSELoss has none'),
    (dict(backbone=dict(type='mmdino.TimmBackbone', model_name='resnet18')),
     'TimmBackbone'),
    (dict(backbone__with_mask_token=False), 'with_mask_token'),
])
def test_parts_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        outputs_of(build(**changes))


@MMENGINE_MODELS.register_module(force=True)
class WrongMasks(torch.nn.Module):

    def forward(self, num_images, grid):
        return torch.zeros(num_images, 3, dtype=torch.bool)


def test_masks_of_another_shape():
    with pytest.raises(ValueError, match=r'WrongMasks .*\(8, 3\) for 8 crops'):
        outputs_of(build(masking=dict(type='WrongMasks')))


def v2_cfg(work_dir, **changes):
    cfg = as_dinov2(runner_cfg(work_dir, **{**V2, **changes}))
    cfg.launcher = 'none'
    return cfg


def test_a_run_and_what_is_made_of_it(tmp_path):
    """Figures in the log, last layers, the door, a start from the file."""
    cfg = v2_cfg(tmp_path / 'run', epochs=2)
    cfg.default_hooks.snapshots = dict(type='TeacherSnapshotHook', interval=1)
    runner = build_runner(cfg)
    before = copy.deepcopy(runner.model.state_dict())
    runner.train()
    hub = runner.message_hub.log_scalars
    for name in ('loss', 'loss_cls', 'loss_patch', 'loss_koleo', 'kl',
                 'patch_teacher_entropy', 'masked_share', 'koleo_duplicates',
                 'grad_norm'):
        assert f'train/{name}' in hub, name
    state = runner.model.state_dict()
    assert state['patch_centering.center'].any()
    assert before.keys() == state.keys()
    network = FrozenTeacher(str(tmp_path / 'run/epoch_2.pth'))
    snapshot = FrozenTeacher(str(tmp_path / 'run/teacher_epoch_2.pth'))
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(
        network.features(images), snapshot.features(images))
    cfg = v2_cfg(tmp_path / 'next', epochs=1)
    cfg.load_from = str(tmp_path / 'run/epoch_2.pth')
    build_runner(cfg).train()


def test_last_layers_of_both_heads_stay_at_first(tmp_path):
    for by_rate in (False, True):
        cfg = v2_cfg(tmp_path / str(by_rate), epochs=1)
        cfg.default_hooks.freeze_last_layer.by_rate = by_rate
        runner = build_runner(cfg)
        before = copy.deepcopy(runner.model.state_dict())
        runner.train()
        for name, value in runner.model.state_dict().items():
            if 'last_layer' in name and not name.startswith('teacher'):
                assert torch.equal(value, before[name]), name
        assert not torch.equal(runner.model.patch_head.mlp[0].weight,
                               before['patch_head.mlp.0.weight'])


def test_a_lost_step_is_repeated_with_its_masks(tmp_path):
    cfg = v2_cfg(tmp_path, epochs=2)
    runner = build_runner(cfg)

    def spoil(module, args, output):
        if runner.iter == 2 and output.requires_grad:
            output.register_hook(lambda grad: grad / 0)

    runner.model.head.last_layer.register_forward_hook(spoil)
    with pytest.raises(FloatingPointError, match='a gradient is not finite'):
        runner.train()
    step = replay(str(tmp_path / 'nonfinite_iter3_rank0.pth'))
    assert step.loss == pytest.approx(step.recorded_loss, abs=1e-6)


def test_patches_that_collapse_are_told(tmp_path, caplog):
    cfg = v2_cfg(tmp_path, epochs=2, koleo=None)
    cfg.default_hooks.collapse.update(interval=1, begin=0)
    cfg.default_hooks.centering.update(
        teacher_temp=1e4, warmup_teacher_temp=1e4, warmup_epochs=0)
    runner = build_runner(cfg)
    told = []
    runner.logger.warning = told.append
    runner.train()
    assert sum('Masked patches' in line and 'uniform' in line
               for line in told) == 1


def resumable_cfg(work_dir, accumulate=1, lean=False):
    cfg = random_cfg(work_dir, accumulate=accumulate)
    cfg.model = model_cfg(
        **V2,
        backbone__drop_path_rate=.5,
        backbone__drop_path_subset=lean,
        backbone__with_cp=lean)
    return as_dinov2(cfg)


@pytest.mark.parametrize('iteration,accumulate,lean', [
    (2, 1, False),
    pytest.param(4, 1, False, marks=pytest.mark.slow),
    (5, 2, False),
    (4, 1, True),
])
def test_stop_and_resume_to_the_same_end(iteration, accumulate, lean,
                                         tmp_path):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    train_and_resume(resumable_cfg(whole, accumulate, lean))
    cfg = resumable_cfg(parts, accumulate, lean)
    with pytest.raises(SystemExit):
        train_and_resume(cfg, StopAfter(iteration))
    train_and_resume(cfg)
    assert_same(end_of(parts), end_of(whole))


def test_the_runner_needs_nothing_of_ours(tmp_path):
    """MMEngine's own loop, optim wrapper and launcher run the model."""
    cfg = runner_cfg(tmp_path, epochs=1, **V2)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 2


@pytest.mark.parametrize(
    'changes', [
        dict(optim_wrapper=dict(type='PerNetworkClipBFloat16OptimWrapper')),
        dict(custom_hooks=[dict(type='CompileHook', backend='eager')]),
    ],
    ids=['bfloat16', 'compiled'])
def test_other_ways_of_computing(changes, tmp_path):
    """Near the figures of float32."""
    losses = []
    for name in ('plain', 'other'):
        cfg = v2_cfg(tmp_path / name, epochs=1)
        if name == 'other':
            cfg.merge_from_dict(changes)
        runner = build_runner(cfg)
        runner.train()
        losses.append(
            runner.message_hub.get_scalar('train/loss').data[0].tolist())
    assert losses[1] == pytest.approx(losses[0], rel=.05)


def shrunk(name, work_dir, sizes):
    """A packaged recipe with a tiny network, on noise of two sizes."""
    cfg = read_config(name)
    cfg.work_dir, cfg.launcher = str(work_dir), 'none'
    cfg.model.backbone.update(
        arch=MODEL['backbone']['arch'], patch_size=8, img_size=sizes[0])
    for head in {'head', 'patch_head'} & cfg.model.keys():
        cfg.model[head].update(
            out_dim=48, hidden_channels=32, bottleneck_channels=16)
    cfg.train_dataloader.pop('dataset')
    cfg.train_dataloader.update(
        batch_size=4,
        num_workers=0,
        persistent_workers=False,
        dataset=dict(type='RandomViews', sizes=2 * sizes[:1] + 2 * sizes[1:]))
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    return cfg


@pytest.mark.parametrize('first,second', [
    ('dinov2_vit-l14_22k', 'dinov2_vit-l14_518px'),
    pytest.param(
        'dinov2_vit-s16', 'dinov2_vit-s16_512px', marks=pytest.mark.slow),
])
def test_a_second_stage_at_high_resolution(first, second, tmp_path):
    """All of the first one's weights, at other places, and steps of its own.
    """
    cfg = shrunk(first, tmp_path / 'first', [32, 16])
    cfg.train_cfg.max_epochs, cfg.param_scheduler.warmup_epochs = 1, 0
    build_runner(cfg).train()
    cfg = shrunk(second, tmp_path / 'second', [64, 32])
    cfg.load_from = str(tmp_path / 'first/epoch_1.pth')
    runner = build_runner(cfg)
    runner.load_or_resume()
    before = torch.load(cfg.load_from, weights_only=False)['state_dict']
    after = runner.model.state_dict()
    assert after.keys() == before.keys()
    for name, value in before.items():
        if name.endswith('pos_embed'):
            value = resize_pos_embed(value, (4, 4), (8, 8))
        assert after[name].equal(value), name
    started = {name: value.clone() for name, value in after.items()}
    runner.train()
    assert runner.iter == 4
    for name in ('backbone.pos_embed', 'teacher.backbone.pos_embed'):
        ended = runner.model.state_dict()[name]
        assert ended.isfinite().all() and not ended.equal(started[name])
