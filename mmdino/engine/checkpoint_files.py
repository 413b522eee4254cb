"""Checkpoint files that a crash leaves whole, and the search for them."""
import io
import logging
import os
import os.path as osp
import zipfile
from pathlib import Path
from typing import Optional, Union

from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log

POINTER = 'last_checkpoint'  # MMEngine's file with the last one's path
INTERRUPTED = 'interrupted.pth'
NAMES = ('epoch_*.pth', 'iter_*.pth', INTERRUPTED)


@register_backend('atomic', force=True)
class AtomicBackend(LocalBackend):
    """Files that are either the old or the new ones, whenever power fails.

    ``backend_args=dict(backend='atomic')`` selects it.
    """

    def put(self, obj: Union[bytes, io.BytesIO],
            filepath: Union[str, Path]) -> None:
        """Write a temporary file, sync it, give it the name.

        Raises:
            OSError: If it cannot be written, with the space that is left.
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
                 filepath: Union[str, Path],
                 encoding: str = 'utf-8') -> None:
        """Write text likewise."""
        self.put(obj.encode(encoding), filepath)


def point_to(work_dir: str, checkpoint: str) -> None:
    """Note the last checkpoint, where MMEngine looks for it."""
    AtomicBackend().put_text(checkpoint, osp.join(work_dir, POINTER))


def find_last_good(work_dir: str) -> Optional[str]:
    """The last checkpoint that can be read, or None without any file.

    The one that the pointer names or, if that is damaged, the newest of the
    others in the work dir.

    Raises:
        ValueError: If all that there are are damaged.
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
            f'{path} is damaged: looking for an older checkpoint.',
            logger='current',
            level=logging.WARNING)
    if paths:
        raise ValueError(f'All checkpoints in {work_dir} are damaged: remove '
                         'them to start anew.')
    return None


def is_intact(path: Union[str, Path]) -> bool:
    """Whether all of a file of ``torch.save`` is there, by its checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, OSError):
        return False


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
    """Let the new name survive a power failure, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
