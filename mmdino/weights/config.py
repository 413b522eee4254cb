"""The config that a checkpoint keeps, read without running it.

A config is Python, and MMEngine runs it to read it. What it writes into a
checkpoint is resolved, so that names and plain values are all there is.
"""
import ast
from typing import Any

from mmengine.config import Config

from mmdino.weights.keys import CheckpointError

NUMBERS = dict(nan=float('nan'), inf=float('inf'))


def read_plain_config(text: str) -> Config:
    """Read ``name = value`` lines, where a value is of literals and ``dict``.

    Args:
        text: As ``Config.pretty_text`` gives it.

    Raises:
        CheckpointError: If there is anything else in it. Nothing has run.
    """
    try:
        lines = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise CheckpointError(
            f'The config in the checkpoint is damaged: {error}') from error
    for line in lines:
        if not (isinstance(line, ast.Assign) and len(line.targets) == 1
                and isinstance(line.targets[0], ast.Name)):
            raise _refused(line)
    return Config({line.targets[0].id: _value(line.value) for line in lines})


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict) and None not in node.keys:
        return dict(zip(map(_value, node.keys), map(_value, node.values)))
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        kind = dict(List=list, Tuple=tuple, Set=set)[type(node).__name__]
        return kind(map(_value, node.elts))
    if isinstance(node, ast.Name) and node.id in NUMBERS:
        return NUMBERS[node.id]
    if _is_dict_call(node):
        pairs = {k.arg: _value(k.value) for k in node.keywords}
        return dict(*map(_value, node.args), **pairs)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise _refused(node) from error


def _is_dict_call(node: ast.expr) -> bool:
    return (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            and node.func.id == 'dict'
            and all(isinstance(arg, ast.Dict) for arg in node.args[:1])
            and len(node.args) < 2 and all(k.arg for k in node.keywords))


def _refused(node: ast.AST) -> CheckpointError:
    return CheckpointError(
        f'The config in the checkpoint was refused and nothing of it was run: '
        f'line {node.lineno} has {ast.unparse(node)[:60]!r}, which is no '
        'plain value. Give the config as a file that you trust.')
