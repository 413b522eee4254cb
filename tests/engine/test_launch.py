import argparse

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from mmdino import test, train
from mmdino.engine import arguments, configs, launch
from mmdino.engine.hooks import NetworkHook
from mmdino.engine.longrun import ResumeHook
from mmdino.registry import HOOKS
from tests.tiny import runner_cfg


def parse(*argv):
    parser = argparse.ArgumentParser()
    arguments.add_arguments(parser)
    return parser.parse_args(['configs/dino_vit-s16.py', *argv])


def test_options_are_merged():
    cfg = configs.load_config(
        parse('--cfg-options', 'train_cfg.max_epochs=3',
              'default_hooks.teacher.momentum=0.99',
              'optim_wrapper.accumulative_counts=2',
              'train_dataloader.dataset.pipeline.views.local.num_views=4',
              'param_scheduler.end_lr=1e-5'))
    assert cfg.train_cfg.max_epochs == 3
    assert cfg.default_hooks.teacher.momentum == .99
    assert cfg.optim_wrapper.accumulative_counts == 2
    assert cfg.param_scheduler.end_lr == 1e-5
    views = cfg.train_dataloader.dataset.pipeline.views
    assert views.local.num_views == 4
    assert views.local.crop.size == 96
    assert cfg.work_dir == 'work_dirs/dino_vit-s16'
    assert configs.load_config(parse('--work-dir', 'x')).work_dir == 'x'


@pytest.mark.parametrize('option,message', [
    ('max_epochs=3', "max_epochs=3: the config has no 'max_epochs'"),
    ('optim_wraper.optimizer.lr=1', "'optim_wraper'. Did you mean "
     "'optim_wrapper'"),
    ('default_hooks.teachr.momentum=1', "no 'teachr'. Did you mean "
     "'teacher'"),
    ('train_dataloader.dataset.pipeline.after.7.x=1', "no '7'"),
])
def test_misspelled_option(option, message):
    with pytest.raises(ValueError, match=message):
        configs.load_config(parse('--cfg-options', option))


def test_amp(monkeypatch):
    cfg = configs.load_config(parse())
    with pytest.raises(RuntimeError, match='--amp needs a GPU'):
        monkeypatch.setattr('torch.cuda.is_available', lambda: False)
        launch.use_amp(cfg)
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    launch.use_amp(cfg)
    assert cfg.optim_wrapper.type == 'PerParameterClipAmpOptimWrapper'
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(ValueError, match='ApexOptimWrapper'):
        launch.use_amp(cfg)


def test_amp_in_bfloat16():
    """On CPUs as well."""
    cfg = configs.load_config(parse())
    launch.use_amp(cfg, 'bf16')
    assert cfg.optim_wrapper.type == 'PerParameterClipBFloat16OptimWrapper'
    assert 'loss_scale' not in cfg.optim_wrapper
    cfg.optim_wrapper.type = 'OptimWrapper'
    with pytest.raises(ValueError, match="--amp=bf16.*'OptimWrapper'"):
        launch.use_amp(cfg, 'bf16')


@pytest.mark.parametrize('argv,precision', [
    ([], None),
    (['--amp'], 'fp16'),
    (['--amp=fp16'], 'fp16'),
    (['--amp=bf16'], 'bf16'),
])
def test_amp_on_the_command_line(argv, precision, monkeypatch):
    monkeypatch.setattr('sys.argv', ['train.py', 'a.py', *argv])
    assert train.parse_args().amp == precision


SCALE = ['--cfg-options', 'optim_wrapper.loss_scale.init_scale=1024.']


def prepared(change, *argv):
    """The config with what an option does to it."""
    return configs.load_config(parse(*argv), change)


def test_settings_of_what_amp_brings(monkeypatch, tmp_path):
    """The loss scale is a setting of the wrapper that --amp chooses."""
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    cfg = prepared(launch.use_amp, *SCALE)
    assert cfg.optim_wrapper.loss_scale == dict(init_scale=1024)
    assert prepared(launch.use_amp).optim_wrapper.loss_scale == 'dynamic'
    path = tmp_path / 'mine.py'
    path.write_text("_base_ = 'mmdino::dino_vit-s16.py'\n"
                    'optim_wrapper = dict(loss_scale=512.)')
    cfg = configs.read_config(str(path), change=launch.use_amp)
    assert cfg.optim_wrapper.loss_scale == 512

    def bfloat16(cfg):
        launch.use_amp(cfg, 'bf16')

    with pytest.raises(ValueError, match="has no 'loss_scale'"):
        prepared(None, *SCALE)
    with pytest.raises(ValueError, match="has no 'loss_scale'"):
        prepared(bfloat16, *SCALE)
    with pytest.raises(ValueError, match='OptimWrapper has no setting'):
        configs.read_config(str(path))
    with pytest.raises(ValueError, match='BFloat16OptimWrapper has no set'):
        configs.read_config(str(path), change=bfloat16)


def test_amp_of_a_test_is_a_setting_of_its_loop():
    assert prepared(test.use_half).test_cfg.fp16
    option = '--cfg-options', 'test_cfg.type=TestLoop'
    assert prepared(test.use_half, *option).test_cfg.fp16
    with pytest.raises(ValueError, match='test_cfg.fp16=True: EpochBasedTr'):
        prepared(test.use_half, '--cfg-options',
                 'test_cfg.type=EpochBasedTrainLoop', 'test_cfg.max_epochs=1')


def test_a_strategy_that_no_runner_reads():
    with pytest.raises(ValueError, match='_base_/fsdp.py'):
        prepared(None, '--cfg-options', 'strategy.type=FSDPStrategy')


def test_settings_of_the_wrapper_that_processes_bring(monkeypatch):
    monkeypatch.setattr('torch.distributed.is_initialized', lambda: True)
    cfg = prepared(None, '--cfg-options',
                   'model_wrapper_cfg.static_graph=True')
    cfg.launcher = 'pytorch'
    launch.distribute_on_cpu(cfg)
    assert cfg.model_wrapper_cfg.type == 'MMDistributedDataParallel'
    assert cfg.model_wrapper_cfg.static_graph
    assert cfg.model_wrapper_cfg.device_ids is None


def test_tf32(monkeypatch):
    cfg = configs.load_config(parse())
    set_to = []
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.set_float32_matmul_precision', set_to.append)
    monkeypatch.setattr('torch.backends.cudnn.allow_tf32', True)
    for tf32 in (True, False):
        cfg.tf32 = tf32
        launch.use_tf32(cfg)
        assert torch.backends.cudnn.allow_tf32 is tf32
    assert set_to == ['high', 'highest']


def test_none_switches_a_hook_off(tmp_path):
    cfg = runner_cfg(tmp_path)
    cfg.launcher = 'none'
    cfg.merge_from_dict({
        'default_hooks.collapse': None,
        'default_hooks.teacher': None,
        'default_hooks.timer': None
    })
    runner = launch.build_runner(configs.prepare(cfg))
    kinds = {type(hook).__name__ for hook in runner.hooks}
    assert not kinds & {
        'CollapseMonitorHook', 'TeacherEMAHook', 'IterTimerHook'
    }
    assert {'CenteringHook', 'LoggerHook', 'NetworkHook'} <= kinds


@HOOKS.register_module()
class OwnNetworkHook(NetworkHook):
    pass


@HOOKS.register_module()
class OwnResumeHook(ResumeHook):
    pass


@HOOKS.register_module()
class OwnStore(Hook):
    pass


def test_hooks_of_ones_own_take_the_place_of_ours():
    own = dict(
        network=dict(type='OwnNetworkHook'),
        resume=dict(type='mmdino.OwnResumeHook', priority='LOW'))
    cfg = Config(dict(model=dict(type='mmdino.DINO'), default_hooks=own))
    launch.add_hooks(cfg, testing=True)
    assert cfg.default_hooks == dict(
        network=dict(type='OwnNetworkHook', testing=True),
        resume=own['resume'])
    cfg.default_hooks = dict(network=dict(type='OwnStore'), resume=None)
    launch.add_hooks(cfg, testing=True)
    assert cfg.default_hooks == dict(network=dict(type='OwnStore'))
    cfg = Config(dict(model=dict(type='mmdino.FrozenTeacher')))
    launch.add_hooks(cfg)
    assert [*cfg.default_hooks] == ['network', 'resume', 'classes']


def test_cpus_need_torchrun():
    cfg = Config(dict(launcher='slurm'))
    with pytest.raises(ValueError, match='--launcher slurm needs GPUs'):
        launch.distribute_on_cpu(cfg)


@pytest.fixture
def error_file(tmp_path, monkeypatch):
    path = tmp_path / 'job/error.json'
    monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(path))
    return path


def fail():
    raise FloatingPointError('the loss is nan')


def read_by_torchrun(path):
    return ProcessFailure(
        local_rank=0, pid=1, exitcode=-15, error_file=str(path)).message


def test_torchrun_reads_the_error_of_a_process(error_file):
    with pytest.raises(FloatingPointError):
        launch.report_errors(fail)()
    assert read_by_torchrun(error_file)['message'] == (
        'FloatingPointError: the loss is nan')


def test_an_error_that_is_half_written_is_none(error_file, monkeypatch):

    def be_ended(data, file):
        file.write('{"mess')
        file.flush()
        raise SystemExit(143)

    monkeypatch.setattr('json.dump', be_ended)
    with pytest.raises(SystemExit):
        launch.report_errors(fail)()
    assert not error_file.exists()
    assert 'Signal 15' in read_by_torchrun(error_file)


def test_an_error_without_torchrun(monkeypatch):
    monkeypatch.delenv('TORCHELASTIC_ERROR_FILE', raising=False)
    with pytest.raises(FloatingPointError):
        launch.report_errors(fail)()
