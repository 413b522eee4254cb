"""A file from the network comes once to each node."""
import os
from pathlib import Path

import pytest
import torch

from mmdino.weights.io import download
from tests.ranks import run_ranks


def fetch(rank, folder, node_of):
    """Two processes, each alone on its node or together on one."""
    os.environ['TORCH_HOME'] = str(folder / f'node{node_of[rank]}')
    os.environ['LOCAL_RANK'] = str(node_of[:rank].count(node_of[rank]))
    own = Path(folder, 'downloads')

    def write(url, path):
        with open(own, 'a') as file:
            file.write(f'{rank}\n')
        Path(path).write_text(url)

    torch.hub.download_url_to_file = write
    for _ in range(2):  # the second time it is there
        path = download('https://example.org/weights.pth')
        assert Path(path).read_text() == 'https://example.org/weights.pth'


@pytest.mark.parametrize('node_of,downloads', [('00', '0'), ('01', '01')])
def test_once_on_each_node(node_of, downloads, tmp_path):
    run_ranks(fetch, tmp_path, node_of)
    assert sorted((tmp_path / 'downloads').read_text().split()) == [*downloads]


def fail(rank, folder):
    os.environ.update(TORCH_HOME=str(folder), LOCAL_RANK=str(rank))

    def refuse(url, path):
        raise OSError('no route to host')

    torch.hub.download_url_to_file = refuse
    with pytest.raises(RuntimeError, match='OSError: no route to host.*other'):
        download('https://example.org/weights.pth')


def test_no_process_waits_for_one_that_failed(tmp_path):
    run_ranks(fail, tmp_path)
