import multiprocessing

import mmcv
import pytest
from mmengine import fileio

from mmdino.datasets.listing import ZipBackend, join_zip_path


def test_reads_through_mmengine(archive, class_folder):
    path = join_zip_path(archive, 'train/bee/2.png')
    assert (fileio.get(path) == (class_folder /
                                 'train/bee/2.png').read_bytes())
    assert (mmcv.imread(path) == 12).all()


def test_forked_process_opens_its_own(archive):
    backend = ZipBackend()
    path = join_zip_path(archive, 'train/bee/2.png')
    content = backend.get(path)
    parents = backend._open(str(archive))

    def read(queue):
        queue.put((backend.get(path), backend._open(str(archive)) is parents))

    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    process = context.Process(target=read, args=(queue, ))
    process.start()
    assert queue.get(timeout=30) == (content, False)
    process.join()
    assert backend.get(path) == content  # the parent's is still open
    backend.close()
    assert parents.fp is None


def test_missing_file_is_named(archive):
    with pytest.raises(KeyError, match='nothing.png'):
        fileio.get(join_zip_path(archive, 'nothing.png'))
