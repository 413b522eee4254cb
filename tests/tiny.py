"""A DINO so small that a test can train it: width 24, depth 2, 32 px."""
import copy

import torch
from mmengine.config import Config
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.utils.data import Dataset

from mmdino.models import FrozenTeacher, MultiViewDataPreprocessor
from mmdino.weights import save_checkpoint

MODEL = dict(
    type='mmdino.DINO',
    data_preprocessor=dict(
        type='mmdino.MultiViewDataPreprocessor',
        mean=[127.5] * 3,
        std=[64.] * 3,
        bgr_to_rgb=True),
    backbone=dict(
        type='mmdino.VisionTransformer',
        arch=dict(
            embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=96),
        img_size=32,
        patch_size=8),
    head=dict(
        type='mmdino.DINOHead',
        out_dim=64,
        hidden_channels=32,
        bottleneck_channels=16),
    centering=dict(type='mmdino.MeanCentering'),
    loss=dict(type='mmdino.DINOLoss'))


@DATASETS.register_module(force=True)
class RandomViews(Dataset):
    """Two 32 px and two 16 px views of noise, the same for an index."""

    def __init__(self, length=8, sizes=(32, 32, 16, 16)):
        self.length = length
        self.sizes = sizes

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        views = [
            torch.randint(
                0, 256, (3, s, s), generator=generator, dtype=torch.uint8)
            for s in self.sizes
        ]
        return dict(inputs=views, data_samples=DataSample())


@MODELS.register_module(force=True)
class DoublePreprocessor(MultiViewDataPreprocessor):
    """Float64, so that equalities are not blurred by Adam's division."""

    def forward(self, data, training=False):
        data = super().forward(data, training)
        data['inputs'] = [view.double() for view in data['inputs']]
        return data


def model_cfg(**changes):
    cfg = copy.deepcopy(MODEL)
    for path, value in changes.items():
        *parents, name = path.split('__')
        part = cfg
        for parent in parents:
            part = part[parent]
        part[name] = value
    return cfg


def base_cfg():
    """The repository's own schedule, hooks and runtime."""
    cfg = Config.fromfile('configs/_base_/schedules/adamw_100e.py')
    cfg.merge_from_dict(
        Config.fromfile('configs/_base_/hooks/dino.py').to_dict())
    return cfg


def runner_cfg(work_dir, epochs=2, batch_size=4, length=8, **model_changes):
    """The repository's own schedule and runtime around the tiny model."""
    cfg = base_cfg()
    cfg.model = model_cfg(**model_changes)
    cfg.train_cfg.update(max_epochs=epochs)
    cfg.train_cfg.pop('val_interval')
    cfg.train_dataloader = dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(type='RandomViews', length=length))
    cfg.param_scheduler.warmup_epochs = 0
    cfg.default_hooks.logger.interval = 1
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = str(work_dir).replace('/', '_')
    return cfg


def constant(cfg):
    """No schedule, in float64: runs of other batch sizes can be compared."""
    cfg.param_scheduler = []
    cfg.auto_scale_lr.enable = False
    cfg.default_hooks.teacher.update(momentum=.9, end_momentum=.9)
    cfg.model.data_preprocessor.type = 'DoublePreprocessor'
    return cfg


def build_runner(work_dir, **kwargs):
    return Runner.from_cfg(runner_cfg(work_dir, **kwargs))


def let_cpus_scale(monkeypatch):
    """Let MMEngine's AmpOptimWrapper scale the loss on a CPU.

    With ``loss_scale=dict(device='cpu', ...)``. Both of MMEngine's
    distributions refuse to without a GPU. mmengine 0.10.7 has
    ``torch.cuda.amp.GradScaler``, torch's own for GPUs alone.
    """
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available',
                        lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler',
                        torch.amp.GradScaler)


def save_network(path, channels=3):
    """Write a checkpoint of random weights for images of some channels."""
    model = FrozenTeacher(
        backbone=dict(model_cfg()['backbone'], in_channels=channels),
        data_preprocessor=dict(
            type='mmdino.MultiViewDataPreprocessor',
            mean=[120.] * channels,
            std=[60.] * channels,
            bgr_to_rgb=False) if channels != 3 else None)
    model.init_weights()
    state = {
        f'backbone.{k}': v
        for k, v in model.backbone.state_dict().items()
    }
    save_checkpoint(
        dict(state_dict=state, meta=dict(network=model.network_cfg)),
        str(path))
    return model
