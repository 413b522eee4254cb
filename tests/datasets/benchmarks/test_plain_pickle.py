import os
import pickle

import numpy as np
import pytest

from mmdino.datasets.benchmarks.plain_pickle import (UnsafePickleError,
                                                     load_plain_pickle)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_of_every_protocol(tmp_path, protocol):
    data = dict(
        names=['a', 'b'],
        places=np.arange(6).reshape(2, 3),
        columns=np.asfortranarray(np.eye(3, 2, dtype=np.float32)),
        empty=np.array([], np.int64),
        number=np.float64(2.5),
        text=b'\xff\x00',
        pair=(1, None, True, 2**70))
    (tmp_path / 'file.pkl').write_bytes(pickle.dumps(data, protocol))
    loaded = load_plain_pickle(tmp_path / 'file.pkl')
    assert loaded.keys() == data.keys()
    for key in data:
        np.testing.assert_equal(loaded[key], data[key])
    assert loaded['columns'].dtype == np.float32


@pytest.mark.parametrize('core', [b'core', b'_core'])
def test_what_python_2_wrote(tmp_path, core):
    """Bytes are its strings; 300 holds one beyond ASCII."""
    places = np.array([7, 200, 300])
    (tmp_path / 'file.pkl'
     ).write_bytes(b'\x80\x02cnumpy.' + core + b'.multiarray\n_reconstruct\n'
                   b'cnumpy\nndarray\nK\x00\x85U\x01b\x87R'
                   b'(K\x01K\x03\x85cnumpy\ndtype\nU\x02i8K\x00K\x01\x87R'
                   b'(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
                   b'\x89U\x18' + places.tobytes() + b'tb.')
    loaded = load_plain_pickle(tmp_path / 'file.pkl')
    np.testing.assert_array_equal(loaded, places)


class Malicious:

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('protocol', [0, 2, 4])
@pytest.mark.parametrize('function,args', [
    (os.mkdir, ('pwned', )),
    (eval, ("__import__('os').mkdir('pwned')", )),
    (open, ('pwned', 'w')),
    (np.save, ('pwned', [1])),
])
def test_nothing_of_a_malicious_file_runs(tmp_path, monkeypatch, protocol,
                                          function, args):
    monkeypatch.chdir(tmp_path)
    data = dict(imlist=['a'], gnd=Malicious(function, *args))
    with open('file.pkl', 'wb') as file:
        pickle.dump(data, file, protocol)
    with pytest.raises(
            UnsafePickleError, match='file.pkl asks for .*official source'):
        load_plain_pickle('file.pkl')
    assert os.listdir() == ['file.pkl']


@pytest.mark.parametrize('data', [
    np.array([None, 'a']),
    np.array([(1, None)], dtype=[('a', int), ('b', object)]),
    np.array(['text']),
])
def test_arrays_of_other_than_numbers(tmp_path, data):
    for protocol in (2, 4):
        (tmp_path / 'file.pkl').write_bytes(pickle.dumps(data, protocol))
        with pytest.raises(UnsafePickleError, match='asks for an array of'):
            load_plain_pickle(tmp_path / 'file.pkl')


def test_numbers_that_claim_to_be_pointers(tmp_path):
    """numpy would take the flags of a dtype from the file."""
    text = pickle.dumps(np.arange(3), 4)
    assert text.count(b'K\x00t') == 1  # the last of the dtype's state
    (tmp_path / 'file.pkl').write_bytes(text.replace(b'K\x00t', b'K\x3ft'))
    loaded = load_plain_pickle(tmp_path / 'file.pkl')
    assert loaded.tolist() == [0, 1, 2] and not loaded.dtype.hasobject


def test_dotted_names_do_not_reach_further(tmp_path):
    """Protocol 4 may ask for an attribute of what is allowed."""
    text = (b'\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.')
    (tmp_path / 'file.pkl').write_bytes(text)
    with pytest.raises(UnsafePickleError, match='numpy.ndarray.__init__'):
        load_plain_pickle(tmp_path / 'file.pkl')


@pytest.mark.parametrize('text', [
    b'', b'no pickle at all', b'\x80\x04\x95',
    pickle.dumps(np.arange(9))[:-9]
])
def test_damaged_files(tmp_path, text):
    (tmp_path / 'file.pkl').write_bytes(text)
    with pytest.raises(ValueError, match='file.pkl is not a pickle.*damaged'):
        load_plain_pickle(tmp_path / 'file.pkl')
