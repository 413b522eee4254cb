"""Mean and standard deviation of a set, in the form that a config wants."""
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from tests.tools.test_train_and_test import in_process


@pytest.fixture
def run(capfd):

    def run(*args: str) -> str:
        in_process('data_stats', *args)
        said = capfd.readouterr()
        return said.err + said.out

    return run


def settings(said: str) -> dict:
    """What the lines of the result say as a config."""
    return Config.fromstring(said[said.index('# '):], '.py').to_dict()


@pytest.fixture
def arrays(tmp_path) -> np.ndarray:
    rng = np.random.default_rng(0)
    found = []
    for i in range(6):
        array = (rng.random(
            (9, 7 + i, 5)) * [10, 20, 300, 4000, 5e4]).astype(np.uint16)
        np.save(tmp_path / f'{i}.npy', array)
        found.append(array.reshape(-1, 5))
    return np.concatenate(found).astype(float)


def test_any_channels_and_what_is_broken(run, tmp_path, arrays):
    (tmp_path / 'broken.npy').write_bytes(b'nothing')
    said = run(tmp_path)
    assert '# 6 of 7 images; 1 could not be read' in said, said
    got = settings(said)
    np.testing.assert_allclose(got['mean'], arrays.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(got['std'], arrays.std(axis=0), rtol=1e-5)
    assert got['bgr_to_rgb'] is False


@pytest.mark.parametrize('broken, more', [(2, 0), (23, 3)])
def test_what_is_broken_is_named(tmp_path, capfd, broken, more):
    np.save(tmp_path / 'whole.npy', np.zeros((4, 4), np.uint8))
    for i in range(broken):
        (tmp_path / f'{i:02}.npy').write_bytes(b'nothing')
    in_process('data_stats', tmp_path)
    out, err = capfd.readouterr()
    assert '.npy' not in out
    named = [i for i in range(broken) if f'{tmp_path}/{i:02}.npy: ' in err]
    assert named == list(range(min(broken, 20)))
    assert (f'... and {more} more could not be read' in err) == bool(more)


@pytest.mark.parametrize('words', [('5', ), ('low', 'high'), ('1', 'high')])
def test_a_wrong_range_is_one_line(words, tmp_path, arrays, capfd):
    with pytest.raises(SystemExit) as ending:
        in_process(
            'data_stats', tmp_path, '--value-range', *words, as_user=True)
    assert ending.value.code == 2
    said = capfd.readouterr().err.strip().splitlines()[-1]
    assert "error: value_range must be 'full', 'file' or two numbers" in said
    assert all(word in said for word in words)


def test_colours_come_in_rgb_and_a_sample_is_a_sample(run, tmp_path):
    for i in range(8):
        img = np.full((6, 6, 3), (10, 20, 30 + i % 2), np.uint8)
        Image.fromarray(img).save(tmp_path / f'{i}.png')
    got = settings(run(tmp_path))
    assert got['mean'] == [10, 20, 30.5] and got['std'] == [0, 0, .5]
    assert got['bgr_to_rgb'] is True
    assert '# 3 of 8 images' in run(tmp_path, '--sample', 3)
