"""Several processes, nodes and micro-batches equal one with all images."""
import re
import sys

import pytest
import torch

from tests.launching import (EPOCHS, STEPS, alone, finish, free_port, outcome,
                             run, start, together, write_config)

ACCUMULATE = ('--cfg-options', 'optim_wrapper.accumulative_counts=2')


def one_process(folder):
    run(*alone(write_config(folder, 4)))


def two_processes(folder):
    run(*together(write_config(folder, 2), 2))


def two_micro_batches(folder):
    run(*alone(write_config(folder, 2), *ACCUMULATE))


def fsdp(folder):
    run(*together(write_config(folder, 2, 'fsdp'), 2))


def fsdp_in_micro_batches(folder):
    run(*together(write_config(folder, 1, 'fsdp'), 2, *ACCUMULATE))


def two_nodes(folder):
    """An agent on each, as two machines have."""
    config, port = write_config(folder, 2), free_port()
    nodes = [
        start(*together(config, 1), NNODES='2', NODE_RANK=str(rank), PORT=port)
        for rank in range(2)
    ]
    for node in nodes:
        finish(node)


@pytest.fixture(scope='module')
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp('one')
    one_process(folder)
    return outcome(folder / 'run')


@pytest.mark.parametrize('train', [
    two_processes, two_micro_batches, two_nodes, fsdp, fsdp_in_micro_batches
])
def test_equals_one_process_with_all_images(train, reference, tmp_path):
    train(tmp_path)
    losses, end = outcome(tmp_path / 'run')
    expected_losses, expected = reference
    assert len(losses) == STEPS
    close = dict(rtol=0, atol=1e-6)
    torch.testing.assert_close(losses, expected_losses, **close)
    torch.testing.assert_close(
        dict(end['state_dict']), dict(expected['state_dict']), **close)
    torch.testing.assert_close(end['optimizer']['state'],
                               expected['optimizer']['state'], **close)
    assert end['meta']['epoch'] == EPOCHS
    assert end['state_dict']['centering.center'].any()
