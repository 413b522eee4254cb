"""Which room of mmdino may import which, read from the files themselves."""
import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mmdino

ROOT = Path(mmdino.__file__).parent
BELOW = 'every room above in this table'
# Ground floor first. A file belongs to the longest name that fits, and may
# import its own room besides.
ROOMS = {
    '__init__': ('utils', ),  # lets configs inherit by name
    'functional': (),
    'utils': (),
    'registry': BELOW,
    'weights': BELOW,
    'datasets': BELOW,
    'models.backbones': BELOW,
    'models': BELOW,
    'models.frozen': BELOW,
    'engine': BELOW,
    'evaluation': BELOW,
    'pictures': BELOW,
    'apis': BELOW,
    'experiments': BELOW,
    'transfer': ('registry', 'functional'),
    'train': BELOW,
    'test': BELOW,
    'cli': BELOW,
}
# The lists of what a package holds: they name the rooms inside.
LISTS = {'models': ('models.backbones', 'models.frozen')}


def modules(root):
    """Files by the names that they have below mmdino, '' for its own."""
    names = {}
    for path in sorted(root.rglob('*.py')):
        parts = path.relative_to(root).with_suffix('').parts
        if parts[-1] == '__init__':
            parts = parts[:-1]
        names['.'.join(parts)] = path
    return names


def imports(path, names):
    """Lines and names of our modules that a file imports, wherever it does.

    The packages around a module, which Python runs as well, are not counted.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f'{path}: a relative import'
            wanted = [(node.module, f'{node.module}.{alias.name}')
                      for alias in node.names]
        elif isinstance(node, ast.Import):
            wanted = [(alias.name, alias.name) for alias in node.names]
        else:
            continue
        for module, longer in wanted:
            top, _, module = module.partition('.')
            if top == 'mmdino':
                longer = longer.partition('.')[2]
                yield node.lineno, longer if longer in names else module


def room_of(module):
    """The longest room that a module is in."""
    parts = (module or '__init__').split('.')
    fitting = ['.'.join(parts[:n]) for n in range(len(parts), 0, -1)]
    rooms = [name for name in fitting if name in ROOMS]
    assert rooms, f'mmdino/{module} is in no room of tests/test_rooms.py'
    return rooms[0]


def allowed(module):
    """The rooms that a module may import."""
    room, order = room_of(module), list(ROOMS)
    others = ROOMS[room]
    if others is BELOW:
        others = order[:order.index(room)]
    return {room, *others, *LISTS.get(module, ())}


def imports_that_run_up(root):
    names = modules(root)
    return [
        f'{path.relative_to(root)}:{line} imports {module}'
        for name, path in names.items()
        for line, module in imports(path, names)
        if room_of(module) not in allowed(name)
    ]


def find_cycle(root):
    names = modules(root)
    graph = {
        name: {module
               for _, module in imports(path, names)}
        for name, path in names.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]


def test_no_import_runs_up():
    assert not imports_that_run_up(ROOT)


def test_no_files_import_each_other():
    assert not find_cycle(ROOT)


def test_every_room_exists():
    inside = {room_of(module) for module in modules(ROOT)}
    assert inside == set(ROOMS)


@pytest.fixture
def house(tmp_path):
    """A small mmdino with three imports that run up and a cycle."""
    files = {
        '__init__.py': '',
        'functional/knn.py': 'import mmdino.utils.progress, torch',
        'utils/progress.py': '',
        'models/__init__.py': 'from mmdino.models.backbones import vit',
        'models/dino.py': 'from mmdino.models.frozen.teacher import Teacher',
        'models/backbones/vit.py': 'from mmdino.utils import progress',
        'models/frozen/teacher.py': 'from mmdino.models.backbones.vit import V'
        '\nfrom mmdino.models.dino import DINO',
        'weights/io.py': 'def late():\n    from mmdino.models import DINO',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_imports_that_run_up_are_found(house):
    assert imports_that_run_up(house) == [
        'functional/knn.py:1 imports utils.progress',
        'models/dino.py:1 imports models.frozen.teacher',
        'weights/io.py:2 imports models',
    ]


def test_cycles_are_found(house):
    assert set(find_cycle(house)) == {'models.dino', 'models.frozen.teacher'}
    (house / 'models/dino.py').write_text('')
    assert find_cycle(house) is None
