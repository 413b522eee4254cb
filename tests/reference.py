"""DINO's training loop written out from its formulas, view by view.

Slow and independent of mmdino's head, loss, centring, hooks and optim
wrappers: it makes trajectories of settings that no recorded file has, in the
format of tests/data/golden. What it shares with mmdino is the ViT.
"""
import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from mmdino.models import VisionTransformer
from tests.golden import RENAMES

WIDTH, HIDDEN, BOTTLENECK = 24, 32, 16
SETTING = dict(
    optimizer='adamw',
    norm_last_layer=True,
    use_bn_in_head=False,
    num_local_crops=2,
    epochs=3,
    iters_per_epoch=4,
    batch_size=4,
    clip_grad=.3,
    freeze_last_layer_epochs=1,
    out_dim=64,
    base_lr=2e-3,
    base_momentum=.9,
    warmup_epochs=1,
    warmup_teacher_temp=.04,
    teacher_temp=.07,
    warmup_teacher_temp_epochs=2,
    weight_decay_start=.04,
    weight_decay_end=.4,
    min_lr=1e-6)


class Head(nn.Module):
    """Linear, (BN), GELU, twice; linear; L2; weight-normalised linear."""

    def __init__(self, setting: dict) -> None:
        super().__init__()
        layers = []
        for width in (WIDTH, HIDDEN):
            layers += [nn.Linear(width, HIDDEN)]
            layers += [nn.BatchNorm1d(HIDDEN)] * setting['use_bn_in_head']
            layers += [nn.GELU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(HIDDEN, BOTTLENECK))
        self.weight_v = nn.Parameter(torch.randn(64, BOTTLENECK))
        self.weight_g = nn.Parameter(
            torch.ones(64, 1), requires_grad=not setting['norm_last_layer'])

    def forward(self, x):
        x = self.mlp(x)
        x = x / x.norm(dim=-1, keepdim=True)
        w = self.weight_g * self.weight_v / self.weight_v.norm(
            dim=1, keepdim=True)
        return x @ w.t()


class Network(nn.Module):

    def __init__(self, setting: dict) -> None:
        super().__init__()
        arch = dict(
            embed_dims=WIDTH,
            num_layers=2,
            num_heads=3,
            feedforward_channels=4 * WIDTH)
        self.backbone = VisionTransformer(arch, img_size=32, patch_size=8)
        self.head = Head(setting)

    def forward(self, views):
        sizes = sorted({v.shape[-1] for v in views}, reverse=True)
        features = [
            self.backbone(
                torch.cat([v for v in views if v.shape[-1] == size]))[0]
            for size in sizes
        ]
        return self.head(torch.cat(features)).chunk(len(views))


def official(state: dict[str, torch.Tensor], prefix: str) -> dict:
    """Our names back to the authors', as numpy."""
    renamed = {}
    for name, value in state.items():
        name = name.replace('weight_g', 'last_layer.weight_g').replace(
            'weight_v', 'last_layer.weight_v')
        if name.startswith('backbone.ln1.'):
            name = name.replace('ln1', 'norm')
        for theirs, ours in RENAMES[:-2]:
            name = name.replace(ours, theirs)
        renamed[prefix + name] = value.detach().numpy().copy()
    return renamed


def cross_entropy(student, targets, temp=.1):
    losses = []
    for t, q in enumerate(targets):
        for s, logits in enumerate(student):
            if s != t:
                log_p = F.log_softmax(logits / temp, dim=-1)
                losses.append(-(q * log_p).sum(-1).mean())
    return sum(losses) / len(losses)


def step(params: dict, state: dict, name: str, lr: float, wd: float) -> None:
    """One update of every parameter that has a gradient."""
    for key, p in params.items():
        if p.grad is None:
            continue
        g, decay = p.grad, wd if p.ndim > 1 else 0.
        s = state.setdefault(key, dict(n=0, m=0., v=0.))
        s['n'] += 1
        if name == 'adamw':
            p.mul_(1 - lr * decay)
            s['m'] = .9 * s['m'] + .1 * g
            s['v'] = .999 * s['v'] + .001 * g * g
            m, v = s['m'] / (1 - .9**s['n']), s['v'] / (1 - .999**s['n'])
            p.sub_(lr * m / (v.sqrt() + 1e-8))
            continue
        g = g + decay * p
        if name == 'lars' and p.ndim > 1 and p.norm() > 0 and g.norm() > 0:
            g = g * .001 * p.norm() / g.norm()
        s['m'] = .9 * s['m'] + g
        p.sub_(lr * s['m'])


def half_cosine(i: int, total: int, start: float, end: float) -> float:
    return end + .5 * (start - end) * (1 + math.cos(math.pi * i / total))


def trajectory(seed: int = 0, **changes) -> dict[str, np.ndarray]:
    """Train, and record what a golden file records (float64)."""
    setting = dict(SETTING, **changes)
    torch.manual_seed(seed)
    student = Network(setting)
    for p in student.parameters():
        if p.requires_grad:
            nn.init.normal_(p, std=.1)
    teacher = copy.deepcopy(student)
    record = official(student.state_dict(), 'initial.')
    record.update({f'setting.{k}': np.array(v) for k, v in setting.items()})
    params = {k: p for k, p in student.named_parameters() if p.requires_grad}
    center, state, rows = torch.zeros(1, 64), {}, []
    per_epoch = setting['iters_per_epoch']
    total = setting['epochs'] * per_epoch
    warmup = setting['warmup_epochs'] * per_epoch
    for i in range(total):
        lr = setting['base_lr'] * i / max(
            warmup - 1, 1) if i < warmup else half_cosine(
                i - warmup, total -
                warmup, setting['base_lr'], setting['min_lr'])
        wd = half_cosine(i, total, setting['weight_decay_start'],
                         setting['weight_decay_end'])
        m = half_cosine(i, total, setting['base_momentum'], 1.)
        temps = np.linspace(setting['warmup_teacher_temp'],
                            setting['teacher_temp'],
                            setting['warmup_teacher_temp_epochs'])
        temp = dict(enumerate(temps)).get(i // per_epoch,
                                          setting['teacher_temp'])
        size = setting['batch_size']
        crops = {
            'global':
            torch.randn(2, size, 3, 32, 32).float(),
            'local':
            torch.randn(setting['num_local_crops'], size, 3, 16, 16).float()
        }
        views = [v.double() for c in crops.values() for v in c]
        with torch.no_grad():
            logits = teacher(views[:2])
            targets = [F.softmax((t - center) / temp, -1) for t in logits]
        loss = cross_entropy(student(views), targets)
        student.zero_grad()
        loss.backward()
        with torch.no_grad():
            center = .9 * center + .1 * torch.cat(logits).mean(0, keepdim=True)
            for p in params.values():
                if setting['clip_grad']:
                    factor = setting['clip_grad'] / (p.grad.norm() + 1e-6)
                    p.grad.mul_(min(float(factor), 1.))
            if i < setting['freeze_last_layer_epochs'] * per_epoch:
                student.head.weight_v.grad = None
                student.head.weight_g.grad = None
            step(params, state, setting['optimizer'], lr, wd)
            for q, p in zip(teacher.parameters(), student.parameters()):
                q.mul_(m).add_((1 - m) * p)
        record[f'step{i}.global_crops'] = crops['global'].numpy()
        record[f'step{i}.local_crops'] = crops['local'].numpy()
        rows.append((loss.item(), center[0].numpy().copy(), lr, wd, m))
    names = ('loss', 'center', 'lr', 'weight_decay', 'momentum')
    record.update({n: np.stack(c) for n, c in zip(names, zip(*rows))})
    record.update(official(student.state_dict(), 'final_student.'))
    record.update(official(teacher.state_dict(), 'final_teacher.'))
    return record
