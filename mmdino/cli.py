"""The command ``mmdino``, which runs all tools by name.

    mmdino train dino_vit-s16
    mmdino attention PHOTOS --checkpoint dino_vit-s16

Each name stands for a file of tools/, which runs with the given options.
"""
import ast
import runpy
import sys
from pathlib import Path

from mmdino.utils.names import suggest
from mmdino.utils.resources import list_configs, resource

TOOLS = dict(
    quickstart='quickstart.py',
    train='train.py',
    test='test.py',
    evaluate='eval_suite.py',
    ablate='ablate.py',
    convert='convert_checkpoint.py',
    export='export.py',
    features='extract_features.py',
    attention='visualization/attention.py',
    pca='visualization/pca.py',
    explore='visualization/explore.py',
    match='visualization/match.py',
    discover='visualization/discover.py',
    nearest='visualization/nearest.py',
    tsne='visualization/tsne.py',
    curves='visualization/collapse.py',
    stats='data_stats.py',
    shards='make_shards.py',
    split='make_split.py',
    data='check_data.py',
    replay='replay_dump.py',
    launch='launch.py')


def main() -> None:
    """Run the tool that the command line names, or list all tools."""
    name, *options = sys.argv[1:] or ['--help']
    if name in ('-h', '--help'):
        print(overview())
    elif name == '--version':
        import mmdino
        print(mmdino.__version__)
    elif name == 'configs':
        print('\n'.join(list_configs()))
    elif name == 'models':
        print(models())
    elif name in TOOLS:
        from mmdino.utils import tool
        tool.command = f'mmdino {name}'
        sys.argv[1:] = options
        runpy.run_path(str(file_of(name)), run_name='__main__')
    else:
        known = [*TOOLS, 'configs', 'models']
        print(
            f'mmdino: error: there is no tool {name!r}.'
            f'{suggest(name, known)} `mmdino --help` lists them.',
            file=sys.stderr)
        sys.exit(2)


def file_of(name: str) -> Path:
    """Return the path of a tool's file, for a key of ``TOOLS``."""
    return resource('tools') / TOOLS[name]


def overview() -> str:
    """Describe each tool by the first sentence of its docstring."""
    lines = ['usage: mmdino TOOL [options]; mmdino TOOL --help', '']
    for name in TOOLS:
        text = ast.get_docstring(ast.parse(file_of(name).read_text()))
        first = ' '.join(text.split('\n\n')[0].split()).split(': ')[0]
        lines.append(f'  {name:11} {first.rstrip(":.")}')
    lines += [
        '  configs     List the configs that come with mmdino',
        '  models      List the names of the published models'
    ]
    return '\n'.join(lines)


def models() -> str:
    """List the names of the published models and their sources."""
    from mmdino.weights import list_models
    return '\n'.join(f'{model.name:28} '
                     f'{"comes with mmdino" if model.packaged else model.url}'
                     for model in list_models())
