"""MMEngine's file access for images inside a zip archive."""
import os
import os.path as osp
from zipfile import ZipFile

from mmengine.fileio import BaseStorageBackend, register_backend

PREFIX = 'zip://'
SEPARATOR = '!/'
MAX_BYTES = 2**30  # of a file once unpacked; larger ones are zip bombs


def join_zip_path(archive: str, name: str) -> str:
    """The path ``zip://ARCHIVE!/NAME`` under which the backend finds it."""
    return f'{PREFIX}{osp.abspath(archive)}{SEPARATOR}{name}'


@register_backend('zip', prefixes='zip', force=True)
class ZipBackend(BaseStorageBackend):
    """Reads archives in place, through paths of :func:`join_zip_path`.

    Every transform that loads through MMEngine reads archives with it. An
    archive is opened once a process: the position in the file is shared with
    the process one was forked from, so a worker opens its own.
    """

    def __init__(self) -> None:
        self._archives: dict[str, ZipFile] = {}
        self._pid = os.getpid()

    def get(self, filepath: str) -> bytes:
        """The bytes of a file in an archive."""
        archive, _, name = str(filepath).removeprefix(PREFIX).partition(
            SEPARATOR)
        entry = self._open(archive).getinfo(name)
        if entry.file_size > MAX_BYTES:
            raise ValueError(
                f'{name} in {archive} unpacks to {entry.file_size / 1e9:.1f} '
                f'GB; at most {MAX_BYTES / 1e9:.1f} GB are read')
        return self._open(archive).read(entry)

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """The text of a file in an archive."""
        return self.get(filepath).decode(encoding)

    def close(self) -> None:
        """Close the archives."""
        for archive in self._archives.values():
            archive.close()
        self._archives.clear()

    def _open(self, path: str) -> ZipFile:
        if self._pid != os.getpid():
            self.close()
            self._pid = os.getpid()
        if path not in self._archives:
            self._archives[path] = ZipFile(path)
        return self._archives[path]
