"""What is left out on the screen."""
import warnings

import pytest
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from torch import nn

from mmdino.utils.screen import details_in_the_file_alone, import_quietly


class Layer(BaseModule):

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)


def test_a_network_is_initialised_in_silence(capsys):
    with details_in_the_file_alone():
        logger = MMLogger.get_instance('quiet', logger_name='quiet')
    Layer().init_weights()
    logger.info('what matters')
    told = capsys.readouterr()
    assert 'what matters' in told.out + told.err
    assert 'linear.weight' not in told.out + told.err


def test_the_name_of_the_run_is_in_the_file_alone(tmp_path, capsys):
    file = tmp_path / 'run.log'
    with details_in_the_file_alone():
        logger = MMLogger.get_instance(
            'named', logger_name='named', log_file=str(file))
    logger.info('Exp name: quickstart_20261128')
    logger.info('what matters')
    told = capsys.readouterr()
    assert 'Exp name' not in told.out + told.err
    assert 'what matters' in told.out + told.err
    assert 'Exp name: quickstart_20261128' in file.read_text()


def test_what_compiling_a_toolbox_says(tmp_path):
    """As of Python 3.12, where it is a SyntaxWarning that all see."""
    with warnings.catch_warnings():
        warnings.simplefilter('error', SyntaxWarning)
        import_quietly()
        said = "invalid escape sequence '\\d'", SyntaxWarning
        warnings.warn_explicit(*said, '/lib/mmpretrain/evaluation/vqa.py', 20)
        with pytest.raises(SyntaxWarning):
            warnings.warn_explicit(*said, '/home/user/mine.py', 20)
