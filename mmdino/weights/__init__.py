"""The one door for weights: files of ours and of others."""
from mmdino.weights.convert import convert_file
from mmdino.weights.formats import FORMATS, convert
from mmdino.weights.io import (load_checkpoint, save_checkpoint,
                               use_safe_loading)
from mmdino.weights.keys import CheckpointError

__all__ = [
    'FORMATS', 'CheckpointError', 'convert', 'convert_file', 'load_checkpoint',
    'save_checkpoint', 'use_safe_loading'
]
