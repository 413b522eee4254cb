"""Checkpoints of others and ours, as pure functions on state dicts."""
from .check import differences
from .conversion import FORMATS, convert
from .files import convert_file
from .loading import load_checkpoint, use_safe_loading
from .names import CheckpointError
from .saving import save_checkpoint

__all__ = [
    'FORMATS', 'CheckpointError', 'convert', 'convert_file', 'differences',
    'load_checkpoint', 'save_checkpoint', 'use_safe_loading'
]
