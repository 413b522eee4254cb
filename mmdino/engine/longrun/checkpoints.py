"""Checkpoints that survive a crash, and the search for the last intact one."""
import io
import logging
import os
import os.path as osp
import time
import zipfile
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.runner.checkpoint import save_checkpoint

from mmdino.engine.hooks.access import dino_model, require_epochs, whole_state
from mmdino.engine.optim import WarmupCosine
from mmdino.models import MeanTeacher
from mmdino.registry import HOOKS
from mmdino.weights import describe_network
from mmdino.weights.adapters import merge

POINTER = 'last_checkpoint'  # MMEngine's file with the path of the last one
INTERRUPTED = 'interrupted.pth'
NAMES = ('epoch_*.pth', 'iter_*.pth', INTERRUPTED)
GRACE = 30  # seconds between SIGTERM and SIGKILL of torchrun and slurm


@register_backend('atomic', force=True)
class AtomicBackend(LocalBackend):
    """File backend that replaces files atomically, even if power fails.

    ``backend_args=dict(backend='atomic')`` selects it.
    """

    def put(self, obj: bytes | io.BytesIO, filepath: str | Path) -> None:
        """Write a temporary file, sync it to disk and rename it.

        Raises:
            OSError: If the file cannot be written; tells the free space.
        """
        os.makedirs(osp.dirname(osp.abspath(filepath)), exist_ok=True)
        data = obj.getvalue() if isinstance(obj, io.BytesIO) else obj
        temporary = f'{filepath}.tmp'
        try:
            with open(temporary, 'wb') as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, filepath)
        except OSError as error:
            _remove_if_there(temporary)
            raise _with_advice(error, str(filepath), len(data)) from error
        _sync_folder(osp.dirname(osp.abspath(filepath)))

    def put_text(self,
                 obj: str,
                 filepath: str | Path,
                 encoding: str = 'utf-8') -> None:
        """Write text in the same way."""
        self.put(obj.encode(encoding), filepath)


def point_to(work_dir: str, checkpoint: str) -> None:
    """Write the path of the last checkpoint to MMEngine's file for it."""
    AtomicBackend().put_text(checkpoint, osp.join(work_dir, POINTER))


def find_last_good(work_dir: str) -> str | None:
    """Return the last intact checkpoint of a work dir, None if it has none.

    This is the checkpoint that ``last_checkpoint`` names or, if it is damaged,
    the newest intact one in the work dir.

    Raises:
        ValueError: If there are checkpoints, but all are damaged.
    """
    paths = sorted((p for name in NAMES for p in Path(work_dir).glob(name)),
                   key=lambda path: path.stat().st_mtime_ns,
                   reverse=True)
    pointer = Path(work_dir, POINTER)
    if pointer.exists():
        named = Path(pointer.read_text().strip() or os.devnull)
        # The work dir may have moved with its files.
        named = named if named.exists() else Path(work_dir, named.name)
        paths.insert(0, named)
    paths = [path for path in paths if path.is_file()]
    for path in paths:
        if is_intact(path):
            return str(path)
        print_log(
            f'{path} is damaged: another checkpoint is searched for.',
            logger='current',
            level=logging.WARNING)
    if paths:
        raise ValueError(f'All checkpoints in {work_dir} are damaged: remove '
                         'them to start anew.')
    return None


def is_intact(path: str | Path) -> bool:
    """Return whether the checksums in a file of ``torch.save`` are right."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, OSError):
        return False


def warn_if_slow(seconds: float) -> None:
    """Warn if saving may take longer than launchers wait after a signal.

    Args:
        seconds: Duration of a save.
    """
    if seconds > GRACE / 2:
        print_log(
            f'Saving took {seconds:.0f} s, and torchrun and slurm kill a '
            f'process {GRACE} s after their SIGTERM: let slurm send a signal '
            'earlier (--signal=USR1@300), and let torchrun wait longer '
            '(TORCH_ELASTIC_SHUTDOWN_TIMEOUT=300, in newer versions).',
            logger='current',
            level=logging.WARNING)


def _with_advice(error: OSError, path: str, size: int) -> OSError:
    usage = os.statvfs(osp.dirname(osp.abspath(path)))
    free = usage.f_bavail * usage.f_frsize
    return OSError(
        error.errno, f'{error.strerror}: {path} needs {size / 1e6:.1f} MB and '
        f'{free / 1e6:.1f} MB are free. Earlier checkpoints are intact: make '
        'room, or lower max_keep_ckpts, and continue with --resume')


def _remove_if_there(path: str) -> None:
    if osp.exists(path):
        os.remove(path)


def _sync_folder(folder: str) -> None:
    """Sync a folder, so that a new name survives a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, safe against a crash at any moment.

    A checkpoint is written to a temporary file, synced and renamed. Then
    ``last_checkpoint`` is updated, and only then outdated checkpoints are
    deleted. With accumulated gradients, a checkpoint that is due between two
    steps of the optimizer is written after the next step, because checkpoints
    do not hold gradients.

    Args:
        backend_args: Arguments of another file backend, as in MMEngine's
            ``CheckpointHook``.
        **kwargs: Other arguments of ``CheckpointHook``.
    """

    def __init__(self, backend_args: dict | None = None, **kwargs) -> None:
        super().__init__(
            backend_args=backend_args or dict(backend='atomic'), **kwargs)
        self._is_due = False
        self._is_timed = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Raise an error if the schedulers do not match the checkpoint.

        MMEngine pairs them in order and ignores surplus ones on either side.

        Raises:
            ValueError: If their numbers differ, or the checkpoint has the
                state of a WarmupCosine for another scheduler.
        """
        if not runner._resume:
            return
        ours = runner.param_schedulers or []
        states = checkpoint.get('param_schedulers') or []
        is_one = len(ours) == 1 and isinstance(ours[0], WarmupCosine)
        if isinstance(ours, list) and (len(ours) != len(states)
                                       if not is_one else not states):
            raise ValueError(
                f'{runner._load_from} was saved with {len(states)} '
                f'schedulers, and param_scheduler of the config has '
                f'{len(ours)}: resume with the config that it was trained '
                'with, or start from its weights (load_from) without '
                '--resume.')
        for scheduler, state in zip(ours, states):
            if 'begin' not in state and not isinstance(scheduler,
                                                       WarmupCosine):
                raise ValueError(
                    f'{runner._load_from} holds the state of a WarmupCosine, '
                    f'which {type(scheduler).__name__} cannot continue: keep '
                    'WarmupCosine in param_scheduler, or start from the '
                    'weights (load_from) without --resume.')

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Save a checkpoint if one is due."""
        if self._is_due and runner.optim_wrapper.should_update():
            step = runner.epoch if self.by_epoch else runner.iter + 1
            self._save_checkpoint_with_step(
                runner, step, dict(epoch=runner.epoch, iter=runner.iter + 1))
        super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def _save_checkpoint(self, runner: Runner) -> None:
        if runner.optim_wrapper.should_update():
            super()._save_checkpoint(runner)
        else:
            self._is_due = True

    def _save_checkpoint_with_step(self, runner: Runner, step: int,
                                   meta: dict) -> None:
        outdated = self._outdated(runner, step)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        started = time.monotonic()
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            # FlexibleRunner overwrites epoch and iter if it is True.
            by_epoch=self.by_epoch and not self._is_due,
            backend_args=self.backend_args,
            **self.args)
        self._is_due = False
        if not self._is_timed:
            self._is_timed = True
            warn_if_slow(time.monotonic() - started)
        if is_main_process():
            point_to(runner.work_dir, self.last_ckpt)
            for path in outdated:
                self._remove(path)

    def _outdated(self, runner: Runner, step: int) -> list[str]:
        """List the checkpoints to delete after that of ``step`` is written."""
        if self.max_keep_ckpts <= 0:
            return []
        steps = [s for s in self.keep_ckpt_ids if s != step] + [step]
        self.keep_ckpt_ids = steps[-self.max_keep_ckpts:]
        runner.message_hub.update_info('keep_ckpt_ids', self.keep_ckpt_ids)
        return [
            self.file_backend.join_path(self.out_dir,
                                        self.filename_tmpl.format(s))
            for s in steps[:-self.max_keep_ckpts]
        ]

    def _remove(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # DeepSpeed's are folders
            self.file_backend.rmtree(path)


PARTS = ('teacher.backbone.', 'teacher.neck.')


@HOOKS.register_module()
class TeacherSnapshotHook(Hook):
    """Write ``teacher_epoch_N.pth`` for evaluation; it is never deleted.

    It holds the teacher's backbone and neck, with the same names as in a full
    checkpoint, so that tools, converters and transfer configs accept both. A
    training cannot be resumed from it; the full checkpoints are for this, of
    which only a few are kept (``default_hooks.checkpoint.max_keep_ckpts``).

    Args:
        interval: Number of epochs between two snapshots.

    Raises:
        ValueError: If ``interval`` is below 1.
        TypeError: At the start, if the train loop does not count epochs.
    """
    priority = 'VERY_LOW'  # as for checkpoints: after the teacher is updated

    def __init__(self, interval: int = 10) -> None:
        if interval < 1:
            raise ValueError('TeacherSnapshotHook: interval must be 1 or more,'
                             f' got {interval}')
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Check that the loop counts epochs."""
        require_epochs(runner, self)

    def after_train_epoch(self, runner: Runner) -> None:
        """Write a snapshot if one is due."""
        if not self.every_n_epochs(runner, self.interval):
            return
        model = dino_model(runner, MeanTeacher)
        state = whole_state(model)
        if model.lora:
            state = merge(state, model.lora.scale)
        epoch = runner.epoch + 1
        snapshot = dict(
            meta=dict(
                epoch=epoch,
                iter=runner.iter,
                network=describe_network(runner.cfg)),
            state_dict={
                k: v
                for k, v in state.items() if k.startswith(PARTS)
            })
        if is_main_process():
            save_checkpoint(
                snapshot,
                osp.join(runner.work_dir, f'teacher_epoch_{epoch}.pth'),
                backend_args=dict(backend='atomic'))
