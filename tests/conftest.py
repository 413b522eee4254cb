"""Every test starts from the same seed, on one thread, in no scope."""
from typing import Iterator

import pytest
import torch
from mmengine.registry import DefaultScope


def pytest_addoption(parser) -> None:
    parser.addoption(
        '--slow', action='store_true', help='also run the long tests')


def pytest_configure(config) -> None:
    config.addinivalue_line('markers', 'slow: takes minutes, see --slow')


def pytest_collection_modifyitems(config, items) -> None:
    if not config.getoption('--slow'):
        for item in items:
            if 'slow' in item.keywords:
                item.add_marker(pytest.mark.skip(reason='long: --slow'))


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def scope() -> None:
    """Give each test MMEngine's scope bookkeeping as it is at the start."""
    DefaultScope._instance_dict.clear()


@pytest.fixture
def float64() -> Iterator[None]:
    """Build modules in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


torch.set_num_threads(1)
