"""Safe reading of pickles that hold plain data: nothing in them is run."""
import functools
import pickle
from typing import Any

import numpy as np


class UnsafePickleError(pickle.UnpicklingError):
    """A pickle that holds more than containers, numbers and arrays."""


def load_plain_pickle(path: str) -> Any:
    """Load lists, dicts, strings, numbers and numpy arrays from a pickle.

    An ordinary ``pickle.load`` calls all functions that the file names, which
    lets a file from others run any program. Here a file may name only the
    functions that build numpy's arrays and numbers, and each is replaced by a
    function of this module. numpy's own functions are not safe: they would
    accept an array of Python objects, whose bytes are used as pointers.

    Pickles of all protocols, of Python 2 and 3 and of numpy 1 and 2 work.

    Raises:
        UnsafePickleError: If the file names another function; names both.
        ValueError: If the file is not a pickle, or it is damaged.
    """
    with open(path, 'rb') as file:
        try:
            return _PlainUnpickler(file, encoding='latin1').load()
        except UnsafePickleError as error:
            raise UnsafePickleError(
                f'{path} asks for {error}, which is not plain data; nothing '
                'was run. Take the file from its official source.') from None
        # numpy and the unpickler raise many errors for damaged bytes.
        except Exception as error:
            raise ValueError(f'{path} is not a pickle of plain data, or it is '
                             f'damaged: {type(error).__name__}: {error}. Copy '
                             'it again.') from error


class _PlainUnpickler(pickle.Unpickler):

    def find_class(self, module: str, name: str) -> Any:
        wanted = f'{module}.{name}'.replace('numpy._core.', 'numpy.core.')
        if wanted not in _STAND_INS:
            raise UnsafePickleError(f'{module}.{name}')
        stand_in = _STAND_INS[wanted]
        # A new wrapper each time: a pickle cannot change the function itself.
        return functools.partial(stand_in) if callable(stand_in) else stand_in


class _Number:
    """Stand-in for numpy.dtype: a type of numbers and a byte order."""

    def __init__(self, code: str, *align_and_copy: bool) -> None:
        self.code = code
        self.order = '='

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]

    def dtype(self) -> np.dtype:
        dtype = np.dtype(self.code)
        if dtype.kind not in 'biuf':
            raise UnsafePickleError(f'an array of {self.code}')
        return dtype.newbyteorder(self.order)


class _Array(np.ndarray):
    """An array of numbers that checks the data it is filled with."""

    def __setstate__(self, state: tuple) -> None:
        version, shape, number, fortran, raw = state
        super().__setstate__(
            (version, shape, number.dtype(), fortran, _bytes(raw)))


def _empty_array(*subtype_shape_and_code: Any) -> _Array:
    """Stand-in for numpy's _reconstruct; __setstate__ then fills the array."""
    return _Array((0, ), np.int8)


def _from_buffer(raw: bytes, number: _Number, shape: tuple,
                 order: str) -> np.ndarray:
    """Stand-in for numpy's _frombuffer, which protocol 5 uses."""
    return np.frombuffer(raw, number.dtype()).reshape(shape, order=order)


def _scalar(number: _Number, raw: bytes | str) -> np.generic:
    return np.frombuffer(_bytes(raw), number.dtype(), count=1)[0]


def _bytes(text: bytes | str, encoding: str = 'latin1') -> bytes:
    """Stand-in for _codecs.encode: Python 2 and protocol 2 write bytes as
    text."""
    if isinstance(text, bytes):
        return text
    if encoding != 'latin1':
        raise UnsafePickleError(f'the encoding {encoding}')
    return text.encode('latin1')


_STAND_INS: dict[str, Any] = {
    'numpy.ndarray': 'numpy.ndarray',
    'numpy.dtype': _Number,
    'numpy.core.multiarray._reconstruct': _empty_array,
    'numpy.core.multiarray.scalar': _scalar,
    'numpy.core.numeric._frombuffer': _from_buffer,
    '_codecs.encode': _bytes,
    # Python 3 writes empty bytes so into pickles of protocol 2.
    '__builtin__.bytes': lambda: b'',
}
