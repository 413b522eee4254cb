"""Less output on the screen, so that what matters is seen.

MMEngine writes hundreds of lines before a training begins, and the run's name
after every epoch. Here they go to the log file of the run only.
"""
import functools
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import mmengine.logging
from mmengine.logging import MMLogger

# Beginnings of the records that are kept off the screen.
DETAILS = (
    '\n------',  # the description of the environment
    'Config:\n',
    'Hooks will be executed in the following order:',
    'Exp name: ',  # once an epoch, which may have one step
    'paramwise_options -- ',
    'Distributed training is not used, all SyncBatchNorm',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    'Failed to search registry with scope "mmdino"',
    'Line NMS is not compiled',  # mmdet, of lane detectors
    'The prefix is not set in metric class',
)
# One record for each parameter of a new network, and how it is initialised.
INITIALISED = re.compile(r'\n\S+ - torch\.Size\(')
# End of the record of a frozen parameter.
FROZEN = ' is skipped since its requires_grad=False'
# How warnings begin that ask a user for nothing.
WARNINGS = (
    # mmcv without compiled operators, which only detectors need
    'Fail to import ``MultiScaleDeformableAttention``',
    # torch's data loader on a machine without GPU
    "'pin_memory' argument is set as true but no accelerator",
    # MMEngine, of the threads of a job's processes and of its DDP wrapper
    r'Setting \w+_NUM_THREADS environment variable for each process to be',
    '`broadcast_buffers` is deprecated',
    # mmseg and mmdet, of defaults
    'Default ``avg_non_ignore`` is False',
    'The draw is False',
)
# Warning of Python 3.12 when it compiles a module of the toolboxes.
ESCAPE, TOOLBOXES = '.*invalid escape sequence', r'.*[/\\]mm[a-z]+[/\\]'


@contextmanager
def details_in_the_file_alone() -> Iterator[None]:
    """Keep :data:`DETAILS` of new loggers in the log file, off the screen."""
    make = MMLogger.__init__

    @functools.wraps(make)
    def make_quiet(logger: MMLogger, *args, **kwargs) -> None:
        make(logger, *args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_for_the_screen)

    MMLogger.__init__ = make_quiet
    try:
        yield
    finally:
        MMLogger.__init__ = make


def _is_for_the_screen(record: logging.LogRecord) -> bool:
    text = str(record.msg)
    return not (text.startswith(DETAILS) or text.endswith(FROZEN)
                or INITIALISED.match(text))


def import_quietly() -> None:
    """Silence the toolboxes' import messages about missing packages.

    The toolboxes write these as debug messages. While they are imported no
    logger exists yet, and MMEngine then prints messages of all levels.
    """
    warnings.filterwarnings('ignore', '|'.join(WARNINGS))
    warnings.filterwarnings('ignore', ESCAPE, SyntaxWarning, TOOLBOXES)
    say = mmengine.logging.print_log

    @functools.wraps(say)
    def say_if_it_matters(msg, logger=None, level=logging.INFO) -> None:
        if logger is not None or level > logging.DEBUG:
            say(msg, logger, level)

    mmengine.logging.print_log = say_if_it_matters
