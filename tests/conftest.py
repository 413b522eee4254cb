"""Every test starts from one seed, in float32, on one thread, in no scope."""
import gc
from collections.abc import Callable, Iterator

import pytest
import torch
from mmengine.registry import DefaultScope

from tests.ranks import Ranks


def pytest_addoption(parser) -> None:
    parser.addoption(
        '--slow', action='store_true', help='also run the long tests')


def pytest_configure(config) -> None:
    config.addinivalue_line('markers', 'slow: takes minutes, see --slow')
    config.addinivalue_line('markers', "detection: needs mmcv's operators")


def pytest_collection_modifyitems(config, items) -> None:
    if not config.getoption('--slow'):
        for item in items:
            if 'slow' in item.keywords:
                item.add_marker(pytest.mark.skip(reason='long: --slow'))


def pytest_collection_finish() -> None:
    """What is imported by now stays: MMEngine's data sets, which collect
    garbage whenever one is built, need not look through it (0.4 s each)."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter) -> None:
    """Say loudly what a machine without mmcv's operators leaves out."""
    skipped = terminalreporter.stats.get('skipped', [])
    number = sum('detection' in getattr(report, 'keywords', ())
                 for report in skipped)
    if number:
        terminalreporter.section('detection NOT TESTED', red=True, bold=True)
        terminalreporter.write_line(
            f"{number} tests of detectors were skipped: mmdet or mmcv's "
            'compiled operators are missing.\n'
            "    pip install -e '.[det]' && bash tools/build_mmcv_ops.sh\n"
            '    python -m pytest tests/transfer/test_det.py')


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)
    # A config that a test reads may import tests.float64.
    torch.set_default_dtype(torch.float32)


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


@pytest.fixture(scope='session', autouse=True)
def cache(tmp_path_factory) -> Iterator[None]:
    """Keep what is cached away from what the user's own runs have kept."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp('cache')
        patch.setenv('XDG_CACHE_HOME', str(folder))
        yield


@pytest.fixture(scope='session')
def _pairs() -> Iterator[list[Ranks]]:
    pairs: list[Ranks] = []
    yield pairs
    for pair in pairs:
        pair.close()


@pytest.fixture
def two_ranks(_pairs: list[Ranks]) -> Callable:
    """``run_ranks`` by two processes that tests share: they start slowly."""
    if not _pairs or not _pairs[-1].processes[0].is_alive():
        _pairs.append(Ranks())
    return _pairs[-1].run
