"""Parsing of options and reporting of errors, for all tools.

A tool parses its options with a :class:`Parser`, and its file ends with
``run_tool(main)``.
"""
import argparse
import dis
import inspect
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from mmengine.logging import MMLogger

from mmdino.utils.names import suggest
from mmdino.utils.screen import details_in_the_file_alone

TRACEBACK = 'MMDINO_TRACEBACK'  # environment variable: show all tracebacks
OURS = Path(__file__).parents[1]  # the package
TOOLBOXES = ('mmengine', 'mmcv', 'mmpretrain', 'mmseg', 'mmdet', 'pycocotools')
NO_SUCH_TYPE = re.compile(r'(\S+) is not in the \S+?::(.+?) registry')
OUT_OF_MEMORY = (' Use --amp, a smaller batch or fewer crops; docs/faq.md '
                 'lists what saves memory.')
CALL = re.compile(r'python (tools/\S+\.py|-m mmdino\.\w+)')
NOT_INSTALLED = re.compile(r'(mm(seg|det)) is not installed')
NO_ARGUMENT = re.compile(
    r"\w+\.__init__\(\) got an unexpected keyword argument '(\w+)'")
LAST_FRAME = re.compile(r'File "(.+)", line \d+, in .+\n\s*(raise)?')

# The command that runs the tool, such as 'mmdino train'; None if the tool's
# file was called itself.
command: str | None = None


def program() -> str:
    """Return how the tool was called, for its help and its errors."""
    return command or Path(sys.argv[0]).name


class Parser(argparse.ArgumentParser):
    """Argument parser that reports a wrong option in one line, status 2.

    Args:
        description: The tool's docstring. The help shows it unchanged, except
            that 'python tools/NAME.py' becomes 'mmdino NAME' if the tool was
            called so.
    """

    def __init__(self, description: str | None, **kwargs) -> None:
        if command:
            description = CALL.sub(command, description or '')
        super().__init__(
            prog=program(),
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **kwargs)

    def parse_known_args(self, args=None, namespace=None) -> tuple:
        """Report a misspelt option before a missing one."""
        args = sys.argv[1:] if args is None else list(args)
        for text in args[:args.index('--') if '--' in args else None]:
            name = text.partition('=')[0]
            known = self._option_string_actions
            if name.startswith('--') and not any(
                    option.startswith(name) for option in known):
                self.error(f'there is no option {name}.{suggest(name, known)}')
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong in one line and exit with status 2."""
        self.exit(
            2, f'{self.prog}: error: {message} ({self.prog} --help '
            'lists all options)\n')

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                action, f'{value!r} is none of {", ".join(names)}.'
                f'{suggest(str(value), names)}')


def run_tool(main: Callable[[], Any]) -> None:
    """Run a tool and exit with its status.

    Errors that the user can fix are those that mmdino raises on purpose, or a
    toolbox for a wrong argument. Of these one line is printed on stderr, and
    the exit status is 2; the traceback goes to the log file of the run, if
    there is one. Any other error is a bug and is raised with its traceback.
    With ``MMDINO_TRACEBACK=1`` in the environment all errors are.

    Args:
        main: The tool's function; it returns the exit status, or None for 0.
    """
    shows_all = os.environ.get(TRACEBACK, '0') not in ('', '0')
    try:
        with details_in_the_file_alone():
            status = main()
    except KeyboardInterrupt:
        if shows_all:
            raise
        _leave('interrupted', 130)
    except Exception as error:
        message = explain(error)
        if message is None or shows_all:
            raise
        _log_traceback(error)
        _leave(f'error: {message}', 2)
    if status:
        sys.exit(status)


def _leave(message: str, status: int) -> NoReturn:
    rank = os.environ.get('RANK', '0')
    text = f'{program()}: {message}'
    print(
        text if rank == '0' else f'[rank {rank}] {text}',
        file=sys.stderr,
        flush=True)
    # Callers of a tool in Python find the text in the exception.
    ending = SystemExit(text)
    ending.code = status
    raise ending from None


def explain(error: BaseException) -> str | None:
    """Return the message of an error that a user can fix; None for a bug."""
    error = _unwrapped(error)
    while error is not None:
        told = (
            _misspelt_argument(error) or _empty_data(error)
            or _missing_operators(error) or _broken_json(error))
        if told:
            return told
        if _can_be_mended(error):
            return _message(error)
        error = error.__cause__ and _unwrapped(error.__cause__)
    return None


def _unwrapped(error: BaseException) -> BaseException:
    """Return the original of an error that MMEngine's registries re-raise."""
    inner = error.__context__
    if inner and type(inner) is type(error) and str(inner) in str(error):
        return _unwrapped(inner)
    return error


def _misspelt_argument(error: BaseException) -> str | None:
    """Return what to say of an argument in a config that nothing takes."""
    found = NO_ARGUMENT.match(str(error))
    for frame, _ in traceback.walk_tb(error.__traceback__ if found else None):
        given = frame.f_locals
        if (frame.f_code.co_name == 'build_from_cfg'
                and found[1] in given['cfg']):
            kind = given['obj_cls']
            close = suggest(found[1], inspect.signature(kind).parameters)
            return f'{kind.__name__} takes no {found[1]!r}.{close}'
    return None


def _empty_data(error: BaseException) -> str | None:
    """Return what to say of a data set of the toolboxes without an image."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        data = frame.f_locals.get('self')
        if frame.f_code.co_name == '_serialize_data' and not data.data_list:
            places = [data.ann_file, *data.data_prefix.values()]
            where = ', '.join(str(place) for place in places if place)
            suffix = getattr(data, 'img_suffix', None)
            if suffix:
                where += f' for *{suffix} (img_suffix)'
            return (f'The {type(data).__name__} has no image. It looks in '
                    f'{where}: are the folder, the suffix of the files and '
                    'the classes right?')
    return None


def _broken_json(error: BaseException) -> str | None:
    if not isinstance(error, json.JSONDecodeError):
        return None
    files = [
        frame.f_locals.get('fp')
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code is json.load.__code__
    ]
    name = files[-1].name if files else 'A file'
    return f'{name} is no whole JSON: {error}.'


def _missing_operators(error: BaseException) -> str | None:
    if getattr(error, 'name', None) != 'mmcv._ext':
        return None
    return ("mmdet needs mmcv's compiled operators, which no package brings "
            'for every torch: bash tools/build_mmcv_ops.sh builds them.')


def _can_be_mended(error: BaseException) -> bool:
    file, is_raised = _origin(error)
    if isinstance(error, OSError) or _is_out_of_memory(error):
        return True
    if not is_raised or isinstance(error, FloatingPointError):
        return False
    if OURS in file.parents or OURS.parent / 'tools' in file.parents:
        return not isinstance(error, (AssertionError, NotImplementedError))
    if isinstance(error, ValueError):
        return 'Original Traceback' not in str(error)
    of_toolbox = any(part in TOOLBOXES for part in file.parts)
    return of_toolbox and bool(str(error)) and isinstance(
        error, (AssertionError, ImportError, KeyError, SyntaxError))


def _origin(error: BaseException) -> tuple[Path, bool]:
    """Return the file that raised an error, and whether by a ``raise``.

    torch raises an error of a data loader's worker again and puts the original
    traceback into the message: the file is then taken from there.
    """
    told = [*LAST_FRAME.finditer(str(error))]
    if told and 'Original Traceback' in str(error):
        return Path(told[-1][1]), bool(told[-1][2])
    last = [*traceback.walk_tb(error.__traceback__)][-1][0]
    code, place = last.f_code, _last_instruction(error)
    is_raised = dis.opname[code.co_code[place]] == 'RAISE_VARARGS'
    return Path(code.co_filename), is_raised


def _last_instruction(error: BaseException) -> int:
    step = error.__traceback__
    while step.tb_next:
        step = step.tb_next
    return step.tb_lasti


def _is_out_of_memory(error: BaseException) -> bool:
    return type(error).__name__ == 'OutOfMemoryError'


def _message(error: BaseException) -> str:
    text = str(error)
    if 'Original Traceback' in text:
        text = text.strip().splitlines()[-1].partition(': ')[2]
    if isinstance(error, KeyError) and error.args:
        text = str(error.args[0])
        missing = NO_SUCH_TYPE.match(text)
        if missing:
            name, kind = missing.groups()
            text = (f'There is no {kind} {name!r}.'
                    f'{suggest(name, _registered(kind))}')
    missing = NOT_INSTALLED.match(text)
    if missing:
        text = (f"{missing[1]} is not installed: pip install "
                f"'mmdino[{missing[2]}]', or -e '.[{missing[2]}]' in a "
                'checkout.')
    if _is_out_of_memory(error):
        text = text.partition('. ')[0] + '.' + OUT_OF_MEMORY
    return ' '.join(text.split())


def _registered(kind: str) -> Iterator[str]:
    """Return the names in all toolboxes' registries of a kind."""
    from mmengine import registry
    for root in vars(registry).values():
        if isinstance(root, registry.Registry) and root.name == kind:
            for scope in (root, *root.children.values()):
                yield from scope.module_dict


def _log_traceback(error: BaseException) -> None:
    """Write the traceback into the log file of a run that has one."""
    if not MMLogger._instance_dict:
        return
    where = (type(error), error, error.__traceback__)
    for handler in MMLogger.get_current_instance().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(
                logging.LogRecord('mmdino', logging.ERROR, __file__, 0,
                                  'The run ends with an error:', (), where))
