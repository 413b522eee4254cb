"""The linear probe against the authors' features, alone and on two ranks."""
import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, DefaultScope
from mmpretrain.structures import DataSample

from mmdino.engine.configs import read_config
from mmdino.engine.launch import build_runner
from mmdino.models.frozen import (BlocksAndMean, ClassAndPatchFeatures,
                                  LastBlocks, LinearProbe, PooledFeatures)
from mmdino.models.frozen.features import interleave
from mmdino.registry import MODELS
from tests import golden
from tests.ranks import run_ranks
from tests.tiny import MODEL, model_cfg

ROOT = Path(__file__).parents[3]
RATES = [.01, .1, 1.]
DATA = golden.load(golden.files('vit.npz')[0])


@DATASETS.register_module(force=True)
class Colours(BaseDataset):
    """32 px images of noise, of four colours that are their classes."""

    def __init__(self, length=16):
        self.length = length
        super().__init__()

    def load_data_list(self):
        return [dict(gt_label=index % 4) for index in range(self.length)]

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        image = torch.randint(
            0, 60, (3, 32, 32), generator=generator, dtype=torch.uint8)
        label = index % 4
        if label < 3:
            image[label] += 150
        return dict(
            inputs=image, data_samples=DataSample().set_gt_label(label))


def vit():
    state = golden.state(DATA, 'state.')
    backbone = MODELS.build(
        golden.vit_cfg(state, DATA['square.attention'].shape[1])).double()
    backbone.load_state_dict(state)
    backbone.eval()
    return dict(backbone=backbone)


def probe_cfg(**changes):
    cfg = dict(
        type='mmdino.LinearProbe',
        data_preprocessor=copy.deepcopy(MODEL['data_preprocessor']),
        backbone=copy.deepcopy(MODEL['backbone']),
        features=dict(type='mmdino.LastBlocks', n=2),
        num_classes=4,
        learning_rates=RATES)
    return dict(cfg, **changes)


def resnet_cfg(**changes):
    return probe_cfg(
        backbone=dict(
            type='mmpretrain.ResNet',
            depth=18,
            base_channels=8,
            stem_channels=8),
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        features=dict(type='mmdino.PooledFeatures'),
        **changes)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A checkpoint of a DINO whose teacher differs from its student."""
    torch.manual_seed(1)
    model = MODELS.build(model_cfg())
    model.init_weights()
    torch.nn.init.normal_(model.teacher.backbone.ln1.weight)
    path = tmp_path_factory.mktemp('probe') / 'dino.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return str(path)


@pytest.fixture(scope='module')
def resnet_checkpoint(tmp_path_factory):
    cfg = resnet_cfg()
    model = MODELS.build(model_cfg(backbone=cfg['backbone'], neck=cfg['neck']))
    path = tmp_path_factory.mktemp('probe') / 'resnet.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


def runner(work_dir,
           batch_size=8,
           epochs=3,
           launcher='none',
           config='linear',
           **changes):
    """The repository's own schedule around a tiny probe."""
    cfg = read_config(f'{ROOT}/configs/benchmarks/{config}.py')
    cfg.model = probe_cfg(**changes)
    loader = dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(type='Colours'))
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'] = copy.deepcopy(loader)
        if config == 'linear-blocks':
            colours = dict(type='Colours')
            held_out = dict(type='HeldOut', share=.25, dataset=colours)
            cfg[f'{name}_dataloader'].dataset = dict(
                held_out, rest=True) if name == 'train' else dict(
                    type='ConcatDataset', datasets=[held_out, colours])
    cfg.train_cfg.max_epochs = epochs
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = str(work_dir).replace('/', '_')
    cfg.launcher = launcher
    return build_runner(cfg)


def batch(size=8):
    items = [Colours()[i] for i in range(size)]
    return dict(
        inputs=torch.stack([item['inputs'] for item in items]),
        data_samples=[item['data_samples'] for item in items])


@torch.no_grad()
def test_features_are_the_authors():
    images = torch.from_numpy(DATA['wide.input'])
    first, second = (torch.from_numpy(DATA[f'wide.layer{i}']) for i in (1, 2))
    close = dict(rtol=0, atol=1e-8)
    torch.testing.assert_close(
        LastBlocks(n=2)(vit(), images),
        torch.cat([first[:, 0], second[:, 0]], dim=-1), **close)
    # as the authors' eval_linear.py writes it
    wanted = torch.cat(
        (second[:, 0].unsqueeze(-1), second[:, 1:].mean(dim=1).unsqueeze(-1)),
        dim=-1).reshape(len(images), -1)
    torch.testing.assert_close(ClassAndPatchFeatures()(vit(), images), wanted,
                               **close)
    torch.testing.assert_close(PooledFeatures()(vit(), images), second[:, 0],
                               **close)


@torch.no_grad()
def test_choices_are_dinov2s():
    """As ``create_linear_input`` of dinov2/eval/linear.py writes them."""
    images = torch.from_numpy(DATA['wide.input'])
    tokens = [torch.from_numpy(DATA[f'wide.layer{i}']) for i in (1, 2)]
    rule = BlocksAndMean(blocks=(1, 2))
    features = rule(vit(), images)
    choices = rule.choices(features.shape[1])
    assert list(choices) == [(1, False), (1, True), (2, False), (2, True)]
    for (n, avgpool), seen in choices.items():
        wanted = torch.cat([block[:, 0] for block in tokens[-n:]], dim=-1)
        if avgpool:
            mean = torch.mean(tokens[-1][:, 1:], dim=1)
            wanted = torch.cat((wanted, mean), dim=-1)
        torch.testing.assert_close(
            features[:, seen], wanted, rtol=0, atol=1e-8)


def test_heads_of_choices_learn_as_if_alone(float64, checkpoint):
    """As a probe that sees only the class token of the last block."""
    alone, = train_by_hand([.1], checkpoint, type='mmdino.LastBlocks', n=1)
    together = train_by_hand([.1],
                             checkpoint,
                             type='mmdino.BlocksAndMean',
                             blocks=(1, 2))
    assert [head.shape[1] for head in together] == [24, 48, 48, 72]
    torch.testing.assert_close(together[0], alone, rtol=0, atol=1e-12)


def test_the_best_is_chosen_on_held_out_images(tmp_path, checkpoint):
    cfg = read_config(f'{ROOT}/configs/benchmarks/linear-blocks.py')
    run = runner(
        tmp_path,
        config='linear-blocks',
        features=dict(cfg.model.features, blocks=(1, 2)),
        epochs=20,
        checkpoint=checkpoint)
    run.train()
    metrics = run.val_loop.run()
    assert len(cfg.model.learning_rates) == 13
    assert len([k for k in metrics if k.endswith('_top1')]) == 4 * 3 + 2
    assert metrics['linear/chosen_on_top1'] == 100
    assert metrics['linear/best_top1'] == 100
    assert metrics['linear/best_blocks'] in (1, 2)
    assert metrics['linear/best_mean'] in (0, 1)
    assert list(tmp_path.glob('best_linear_chosen_on_top1_epoch_*.pth'))


def test_interleave_by_hand():
    first, second = torch.tensor([[1, 2], [5, 6]]), torch.tensor([[3, 4],
                                                                  [7, 8]])
    assert interleave(first, second).tolist() == [[1, 3, 2, 4], [5, 7, 6, 8]]


def test_heads_learn_as_if_alone(float64, checkpoint):
    """Three steps of three heads together equal those of each alone."""
    together = train_by_hand(RATES, checkpoint)
    for rate, head in zip(RATES, together):
        alone, = train_by_hand([rate], checkpoint)
        torch.testing.assert_close(head, alone, rtol=0, atol=1e-12)


def train_by_hand(rates, checkpoint, **features):
    """Weights of the heads after three steps from zero."""
    DefaultScope.get_instance('hand', scope_name='mmdino')
    cfg = probe_cfg(learning_rates=rates, checkpoint=checkpoint)
    cfg['features'] = features or cfg['features']
    probe = MODELS.build(cfg).double()
    probe.init_weights()
    for head in probe.heads:
        torch.nn.init.zeros_(head.weight)
    cfg = Config.fromfile(ROOT / 'configs/benchmarks/linear.py').optim_wrapper
    optim = build_optim_wrapper(probe, cfg)
    # MMEngine appends a group that learns nothing and holds the default lr.
    rates = rates * (len(probe.heads) // len(rates))
    groups = optim.optimizer.param_groups[:len(rates)]
    assert [group['lr'] for group in groups] == rates
    assert [len(group['params']) for group in groups] == [2] * len(rates)
    images = torch.linspace(-2, 2, 8 * 3 * 32 * 32).sin().view(8, 3, 32, 32)
    for _ in range(3):
        losses = probe(images, batch()['data_samples'], mode='loss')
        if not features:
            assert list(losses) == [f'loss_lr{rate:g}' for rate in rates]
        assert len(losses) == len(rates)
        optim.update_params(probe.parse_losses(losses)[0])
    return [head.weight.detach() for head in probe.heads]


@pytest.mark.parametrize('kind', ['vit', 'resnet'])
def test_training_leaves_the_teacher_as_it_was(kind, tmp_path, checkpoint,
                                               resnet_checkpoint):
    changes = dict(checkpoint=checkpoint)
    if kind == 'resnet':
        changes = resnet_cfg(checkpoint=resnet_checkpoint)
    run = runner(tmp_path, epochs=20, **changes)
    run.train()
    saved = torch.load(changes['checkpoint'])['state_dict']
    network = run.model.network.state_dict()
    for name, weight in network.items():
        assert torch.equal(weight, saved[f'teacher.{name}']), name
    assert not run.model.network.training
    scores = run.message_hub.log_scalars
    if kind == 'vit':  # four colours are separable
        assert scores['val/linear/best_top1'].current() == 100
    # cosine over the epochs, to 0 after the last; 8 images of 256
    lr = [g['initial_lr'] for g in run.optim_wrapper.optimizer.param_groups]
    assert lr == pytest.approx([rate / 32 for rate in RATES])
    assert run.optim_wrapper.param_groups[0]['lr'] < .01 * lr[0]
    assert list(tmp_path.glob('best_linear_best_top1_epoch_*.pth'))


def test_a_saved_probe_is_tested_without_the_checkpoint(tmp_path, checkpoint):
    run = runner(tmp_path, checkpoint=checkpoint)
    run.train()
    first = run.test()
    again = runner(tmp_path / 'again')
    again._load_from = str(tmp_path / 'epoch_3.pth')
    assert again.test() == first


@pytest.mark.parametrize('change,message', [
    (dict(checkpoint=None), 'no checkpoint to start from.*model.checkpoint='),
    (dict(checkpoint='nowhere.pth'), "There is no checkpoint 'nowhere.pth'"),
    (dict(features=dict(type='mmdino.LastBlocks', n=3)),
     'n=3 last blocks were asked for, but .* has 2'),
    (dict(learning_rates=[]), r'learning_rates must be .*got \[\]'),
    (dict(learning_rates=[.1, .1]), 'different positive numbers'),
    (dict(features=dict(type='mmdino.BlocksAndMean')),
     'n=4 last blocks were asked for, but .* has 2'),
    (dict(features=dict(type='mmdino.BlocksAndMean', blocks=(0, 1))),
     r'blocks must be numbers of last blocks.*got \(0, 1\)'),
    (dict(num_classes=0), 'num_classes must be positive, got 0'),
])
def test_wrong_settings(change, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        MODELS.build(probe_cfg(**change)).init_weights()


def test_a_backbone_without_blocks_is_refused():
    with pytest.raises(
            ValueError, match='ResNet .* no method last_blocks.*'
            'PooledFeatures'):
        MODELS.build(
            dict(resnet_cfg(), features=dict(type='mmdino.LastBlocks')))


def test_weights_must_fit(tmp_path, checkpoint, resnet_checkpoint):
    state = torch.load(checkpoint)['state_dict']
    for name, broken, message in (
        ('missing', {
            k: v
            for k, v in state.items() if 'teacher.backbone.ln1' not in k
        }, 'does not fit VisionTransformer: missing'),
        ('more', dict(state, **{'teacher.backbone.more':
                                torch.ones(1)}), 'left over .*more'),
        ('shape', dict(state,
                       **{'teacher.backbone.ln1.bias':
                          torch.ones(5)}), r'ln1.bias \(5,\) in the file'),
        ('student', {
            k: v
            for k, v in state.items() if 'teacher' not in k
        }, 'no place for .centering.center'),
    ):
        path = tmp_path / f'{name}.pth'
        torch.save(dict(state_dict=broken), path)
        with pytest.raises(ValueError, match=f'(?s){message}'):
            MODELS.build(probe_cfg(checkpoint=str(path))).init_weights()
    with pytest.raises(ValueError, match='Give the config of the network'):
        MODELS.build(probe_cfg(checkpoint=resnet_checkpoint)).init_weights()


def test_labels_beyond_the_classes_are_refused(checkpoint):
    probe = MODELS.build(probe_cfg(num_classes=3))
    with pytest.raises(
            ValueError,
            match='range from 0 to 3.*has 3 classes, 0 to 2: '
            'set model.num_classes'):
        probe(torch.ones(8, 3, 32, 32), batch()['data_samples'], mode='loss')


@pytest.mark.parametrize('classes, ranked', [(4, 1), (5, 1), (6, 5)])
def test_top5_needs_more_than_five_classes(classes, ranked, checkpoint):
    probe = MODELS.build(probe_cfg(num_classes=classes, checkpoint=checkpoint))
    sample, = probe(torch.zeros(1, 3, 16, 16), [DataSample()], 'predict')
    assert {
        key: len(top)
        for key, top in sample.top_classes.items()
    } == {
        rate: ranked
        for rate in RATES
    }


def test_learning_rates_are_said_once(tmp_path):
    cfg = Config.fromfile(ROOT / 'configs/benchmarks/linear.py').optim_wrapper
    cfg.optimizer.lr = 1.
    DefaultScope.get_instance('once', scope_name='mmdino')
    with pytest.raises(ValueError, match='lr=1.0 has no effect'):
        build_optim_wrapper(MODELS.build(probe_cfg()), cfg)


def test_frozen_always():
    probe = MODELS.build(resnet_cfg())
    assert isinstance(probe.train(), LinearProbe)
    assert not any(m.training for m in probe.network.modules())
    assert {
        name.split('.')[0]
        for name, p in probe.named_parameters() if p.requires_grad
    } == {'heads'}


def rank_trains(rank, folder, checkpoint):
    run = runner(
        folder / 'two',
        batch_size=4,
        checkpoint=checkpoint,
        launcher='pytorch')
    assert type(run.model).__name__ == 'MMDistributedDataParallel'
    torch.manual_seed(0)
    run.train()
    metrics = run.val_loop.run()
    if rank == 0:
        torch.save(
            dict(metrics=metrics, state=run.model.module.state_dict()),
            folder / 'two.pth')


def test_two_ranks_equal_one(tmp_path, checkpoint):
    one = runner(tmp_path / 'one', checkpoint=checkpoint)
    torch.manual_seed(0)
    one.train()
    run_ranks(rank_trains, tmp_path, checkpoint)
    two = torch.load(tmp_path / 'two.pth')
    torch.testing.assert_close(
        two['state'], one.model.state_dict(), rtol=0, atol=1e-6)
    assert two['metrics'] == one.val_loop.run()
