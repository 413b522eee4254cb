"""Fine-tuning configs, trained on small trees in the genuine layouts."""
import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import Runner

from mmdino.datasets import INaturalist
from mmdino.experiments.suite import with_data
from mmdino.registry import DATASETS, MODELS
from tests.tiny import MODEL, model_cfg
from tests.transfer.benchmarks import WRITERS, write_inat

ROOT = Path(__file__).parents[2] / 'configs/transfer/mmpretrain'
NORMALISATION = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
CLASSES = dict(
    cifar10=10,
    cifar100=100,
    flowers102=102,
    cars=196,
    inat18=8142,
    inat19=1010,
    imagenet=1000)

IN_THE_TREE = dict(inat18=3, inat19=3, imagenet=2)


@pytest.fixture(autouse=True)
def mmdino_scope():
    DefaultScope.get_instance('test', scope_name='mmdino')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """An untrained tiny DINO, its teacher unlike its student."""
    init_default_scope('mmdino')
    model = MODELS.build(model_cfg())
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=.1)
    path = tmp_path_factory.mktemp('finetune') / 'epoch_1.pth'
    cfg = Config(dict(model=model_cfg()))
    torch.save(
        dict(meta=dict(cfg=cfg.pretty_text), state_dict=model.state_dict()),
        path)
    return path


def tiny(name, folder, checkpoint):
    """The config on the tree, of few classes, with small images."""
    cfg = Config.fromfile(ROOT / f'finetune_{name}.py')
    cfg.model.head.num_classes = IN_THE_TREE.get(name, CLASSES[name])
    cfg.param_scheduler = []
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    return shrink(with_data(cfg, folder), folder, checkpoint)


def shrink(cfg, folder, checkpoint):
    """Small images and batches, in one process."""
    cfg.model.checkpoint = str(checkpoint)
    for loader in (cfg.train_dataloader, cfg.val_dataloader,
                   cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=4)
        for step in loader.dataset.pipeline:
            for key, value in (('crop_size', 32), ('scale', 32)):
                if key in step:
                    step[key] = value
    cfg.val_evaluator.topk = cfg.test_evaluator.topk = (1, )
    cfg.train_cfg.val_interval = cfg.train_cfg.max_epochs
    cfg.work_dir = str(folder / 'work')
    cfg.experiment_name = folder.name
    return cfg


@pytest.mark.parametrize('name', WRITERS)
def test_trains_and_scores(name, tmp_path, checkpoint, monkeypatch):
    folder, write = WRITERS[name]
    write(tmp_path / folder, monkeypatch)
    cfg = tiny(name, tmp_path, checkpoint)
    runner = Runner.from_cfg(cfg)
    runner.train()
    drop_path = runner.model.backbone.layers[1].ffn.dropout_layer
    assert drop_path.drop_prob == pytest.approx(.1)
    logged = runner.message_hub.log_scalars
    assert 0 <= logged['val/accuracy/top1'].current() <= 100
    assert logged['train/loss'].current() > 0
    assert list((tmp_path / 'work').glob('best_accuracy_top1_epoch_1.pth'))
    for loader in (runner.train_dataloader, runner.val_dataloader):
        assert len(loader.dataset) >= 6
        assert loader.dataset[1]['inputs'].shape == (3, 32, 32)


def test_the_teacher_is_what_is_tuned(tmp_path, checkpoint):
    model = MODELS.build(tiny('imagenet', tmp_path, checkpoint).model)
    model.init_weights()
    state = torch.load(checkpoint)['state_dict']
    for name, weight in model.backbone.state_dict().items():
        assert weight.equal(state[f'teacher.backbone.{name}'])
    head = model.head.layers.head
    assert 1e-5 < head.weight.std() < 4e-5 and not head.bias.any()


def test_what_does_not_fit_is_refused(tmp_path, checkpoint):
    cfg = tiny('imagenet', tmp_path, checkpoint).model
    backbone = MODEL['backbone']
    for changes, message in ((dict(checkpoint=None), 'needs a checkpoint'),
                             (dict(checkpoint=None, backbone=backbone),
                              'no checkpoint to start from'),
                             (dict(checkpoint='nowhere.pth'), 'nowhere.pth'),
                             (dict(backbone=dict(backbone, patch_size=4)),
                              'patch size: 8 in the file, 4 in the config'),
                             (dict(data_preprocessor=NORMALISATION),
                              'mean is .* there')):
        with pytest.raises((FileNotFoundError, ValueError), match=message):
            MODELS.build(dict(cfg, **changes)).init_weights()


def test_a_classifier_is_tested_by_its_own_checkpoint(tmp_path, checkpoint):
    folder, write = WRITERS['imagenet']
    write(tmp_path / folder, None)
    cfg = tiny('imagenet', tmp_path, checkpoint)
    runner = Runner.from_cfg(copy.deepcopy(cfg))
    runner.train()
    cfg.model.checkpoint = str(tmp_path / 'work/epoch_1.pth')
    tested = MODELS.build(cfg.model)
    state = tested.state_dict()
    for name, weight in runner.model.state_dict().items():
        assert weight.equal(state[name])
    cfg.model.head.num_classes = 3
    with pytest.raises(ValueError, match="of another shape 'head.layers"):
        MODELS.build(cfg.model)


@pytest.mark.parametrize('rate', [1., .5])
def test_layer_decay(tmp_path, checkpoint, rate):
    """Depth 2: embedding, two blocks, what follows them."""
    cfg = tiny('imagenet', tmp_path, checkpoint)
    cfg.optim_wrapper.paramwise_cfg.layer_decay_rate = rate
    runner = Runner.from_cfg(cfg)
    groups = runner.build_optim_wrapper(
        cfg.optim_wrapper).optimizer.param_groups
    found = {g['param_name']: (g['lr'], g['weight_decay']) for g in groups}
    for name, exponent, decay in (('backbone.pos_embed', 3,
                                   0.), ('backbone.cls_token', 3, 0.),
                                  ('backbone.patch_embed.projection.weight', 3,
                                   .05), ('backbone.layers.0.attn.qkv.weight',
                                          2, .05),
                                  ('backbone.layers.1.attn.qkv.bias', 1,
                                   0.), ('backbone.ln1.weight', 0, 0.),
                                  ('head.layers.head.weight', 0, .05)):
        lr, weight_decay = found[name]
        assert lr == pytest.approx(5e-4 * rate**exponent), name
        assert weight_decay == decay, name


def test_inaturalist_names_what_is_missing(tmp_path):
    write_inat(tmp_path, None)
    data = INaturalist(str(tmp_path), 'val2018.json')
    assert data.metainfo['classes'] == ('species 0', 'species 1', 'species 2')
    assert [data.get_data_info(i)['gt_label']
            for i in range(6)] == [0, 1, 2, 0, 1, 2]
    (tmp_path / 'train_val2018/Plantae/1/val4.jpg').unlink()
    with pytest.raises(FileNotFoundError, match='1/val4.jpg does not exist'):
        INaturalist(str(tmp_path), 'val2018.json')
    with pytest.raises(FileNotFoundError, match='val2019.json'):
        INaturalist(str(tmp_path), 'val2019.json')


@pytest.mark.parametrize('name', ['cifar10', 'cifar100'])
def test_red_pictures_of_cifar_reach_the_network_as_red(
        name, tmp_path, monkeypatch):
    folder, write = WRITERS[name]
    write(tmp_path / folder, monkeypatch)
    cfg = Config.fromfile(ROOT / f'finetune_{name}.py')
    cfg = with_data(cfg, tmp_path)
    preprocessor = MODELS.build(
        dict(cfg.model.data_preprocessor, **NORMALISATION))
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.dataset.pipeline = [dict(type='mmpretrain.PackInputs')]
        item = DATASETS.build(loader.dataset)[0]
        images = preprocessor(dict(inputs=item['inputs'][None]))['inputs']
        red, green, blue = images.mean((0, 2, 3)).tolist()
        # of 199.5, 49.5 and 49.5: 1.3, -1.2 and -0.9
        assert red > 1 and max(green, blue) < -.5
