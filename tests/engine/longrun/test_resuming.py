"""What a run that is resumed with other settings does."""
import pytest
from mmengine.hooks import Hook

from mmdino.datasets.seeded import SeededDataset
from mmdino.engine.launch import build_runner
from tests.resuming import StopAfter, random_cfg
from tests.tiny import runner_cfg

OTHER = 'is continued with other settings: '


class Recorder(Hook):
    """The values of each iteration, by its number."""
    priority = 'LOWEST'

    def __init__(self):
        self.values = {}

    def after_train_iter(self, runner, *args, **kwargs):
        hub = runner.message_hub
        self.values[runner.iter] = {
            name: hub.get_scalar(f'train/{name}').current()
            for name in ('lr', 'weight_decay', 'momentum', 'teacher_temp')
        }


def cfg_of(work_dir, epochs=4, batch_size=4, length=16, **changes):
    cfg = runner_cfg(
        work_dir, epochs=epochs, batch_size=batch_size, length=length)
    cfg.launcher = 'none'
    cfg.param_scheduler.warmup_epochs = 1
    cfg.default_hooks.centering.update(
        teacher_temp=.07, warmup_teacher_temp=.04, warmup_epochs=3)
    cfg.merge_from_dict(changes)
    return cfg


RUNS = iter(range(1000))


def train(cfg, *hooks, checkpoint=None):
    cfg = cfg.copy()
    cfg.resume = checkpoint is not None
    cfg.load_from = str(checkpoint) if checkpoint else None
    cfg.experiment_name += f'_{next(RUNS)}'
    runner = build_runner(cfg)
    recorder = Recorder()
    for hook in (recorder, *hooks):
        runner.register_hook(hook)
    runner.train()
    with open(f'{runner.log_dir}/{runner.timestamp}.log') as file:
        return recorder.values, file.read()


def changes_in(log):
    told = [line.split(OTHER)[1] for line in log.splitlines() if OTHER in line]
    assert len(told) < 2
    return told[0] if told else None


def test_the_same_settings_are_no_news(tmp_path):
    cfg = cfg_of(tmp_path)
    whole, log = train(cfg)
    assert OTHER not in log
    values, log = train(cfg, checkpoint=tmp_path / 'epoch_2.pth')
    assert changes_in(log) is None
    assert values == {i: v for i, v in whole.items() if i >= 8}


@pytest.mark.parametrize('changes,told', [
    (dict(epochs=6), 'train_cfg.max_epochs 4 -> 6.'),
    (dict(epochs=3), 'train_cfg.max_epochs 4 -> 3.'),
    (dict(batch_size=2), 'train_dataloader.batch_size 4 -> 2.'),
    (dict(batch_size=8), 'train_dataloader.batch_size 4 -> 8.'),
    (dict(length=24), 'train_dataloader.dataset.length 16 -> 24.'),
    ({
        'optim_wrapper.optimizer.lr': .5
    }, 'optim_wrapper.optimizer.lr 0.0005 -> 0.5.'),
    ({
        'param_scheduler.end_weight_decay': .1
    }, 'param_scheduler.end_weight_decay 0.4 -> 0.1.'),
    ({
        'default_hooks.teacher.momentum': .9,
        'default_hooks.centering.warmup_epochs': 4
    }, 'default_hooks.centering.warmup_epochs 3 -> 4, '
     'default_hooks.teacher.momentum 0.996 -> 0.9.'),
])
def test_values_are_those_of_the_new_run(changes, told, tmp_path):
    """From the second epoch's end on, as if it had never been another."""
    train(cfg_of(tmp_path / 'old'))
    whole, _ = train(cfg_of(tmp_path / 'new', **changes))
    values, log = train(
        cfg_of(tmp_path / 'old', **changes),
        checkpoint=tmp_path / 'old/epoch_2.pth')
    start = len(whole) // changes.get('epochs', 4) * 2
    assert values == {i: v for i, v in whole.items() if i >= start}
    assert changes_in(log) == told


def test_the_optimizers_other_settings_are_followed(tmp_path):
    train(cfg_of(tmp_path, epochs=2))
    cfg = cfg_of(
        tmp_path, epochs=2, **{'optim_wrapper.optimizer.betas': (.8, .99)})
    cfg.resume, cfg.load_from = True, str(tmp_path / 'epoch_1.pth')
    runner = build_runner(cfg)
    runner.train()
    groups = runner.optim_wrapper.optimizer.param_groups
    assert {tuple(group['betas']) for group in groups} == {(.8, .99)}
    assert len({group['weight_decay'] for group in groups}) == 2


def stopped(tmp_path, iteration):
    cfg = random_cfg(tmp_path)  # 3 epochs of 10 images in batches of 4
    with pytest.raises(SystemExit):
        train(cfg, StopAfter(iteration))
    return cfg


@pytest.mark.parametrize('batch_size,images,first,words', [
    (2, 6 + 10, 7, 'has 5 iterations: training continues after 2 of them'),
    (1, 6 + 10, 14, 'has 10 iterations: training continues after 4'),
    (3, 20, 4, 'which now has 4 iterations: the epoch starts anew'),
])
def test_another_batch_in_the_midst_of_an_epoch(batch_size, images, first,
                                                words, tmp_path, monkeypatch):
    cfg = stopped(tmp_path, 4)
    cfg.train_dataloader.batch_size = batch_size
    seen, load = [], SeededDataset.__getitem__
    monkeypatch.setattr(SeededDataset, '__getitem__',
                        lambda self, key: seen.append(key) or load(self, key))
    values, log = train(cfg, checkpoint=tmp_path / 'interrupted.pth')
    assert len(seen) == len(set(seen)) == images
    assert min(values) == first
    assert log.count('iteration 4 in epoch 1') == 1
    assert words in log


def test_images_are_those_that_the_epoch_has_not_had(tmp_path, monkeypatch):
    seen, load = [], SeededDataset.__getitem__
    monkeypatch.setattr(SeededDataset, '__getitem__',
                        lambda self, key: seen.append(key) or load(self, key))
    cfg = stopped(tmp_path, 4)
    cfg.train_dataloader.batch_size = 2
    train(cfg, checkpoint=tmp_path / 'interrupted.pth')
    for epoch in range(3):
        assert sorted(key.index for key in seen
                      if key.epoch == epoch) == [*range(10)]


def test_other_pictures_begin_the_epoch_anew(tmp_path):
    cfg = stopped(tmp_path, 5)
    cfg.train_dataloader.dataset.num_images = 12
    values, log = train(cfg, checkpoint=tmp_path / 'interrupted.pth')
    assert min(values) == 3
    assert log.count('the epoch starts anew') == 1
    assert 'dataset.num_images 10 -> 12' in changes_in(log)


def test_fewer_epochs_than_it_has_had(tmp_path):
    train(cfg_of(tmp_path))
    with pytest.raises(
            ValueError, match='trained for 4 epochs.*run has only 2'):
        train(cfg_of(tmp_path, epochs=2), checkpoint=tmp_path / 'epoch_4.pth')


@pytest.mark.parametrize('changes,words', [
    (dict(epochs=6), 'CosineAnnealingLR of .*=16, and this run has .*=24'),
    ({
        'optim_wrapper.optimizer.lr': .5
    }, 'CosineAnnealingLR of base_values=.*this run has'),
])
def test_schedulers_that_keep_their_settings_are_refused(
        changes, words, tmp_path):

    def cosine(epochs=4, **changes):
        cfg = cfg_of(tmp_path, epochs=epochs, **changes)
        cfg.param_scheduler = [
            dict(
                type='CosineAnnealingLR',
                T_max=epochs,
                end=epochs,
                convert_to_iter_based=True)
        ]
        return cfg

    train(cosine())
    values, _ = train(cosine(), checkpoint=tmp_path / 'epoch_2.pth')
    assert min(values) == 8
    with pytest.raises(ValueError, match=words):
        train(cosine(**changes), checkpoint=tmp_path / 'epoch_2.pth')
