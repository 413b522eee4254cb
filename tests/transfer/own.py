"""The configs for classes of one's own, copied as a user does."""
import re
from pathlib import Path

from mmengine.config import Config

FOLDER = Path(__file__).parents[2] / 'configs/transfer'


def copy_config(name, folder, **lines):
    """The file with its first three lines changed, read from elsewhere.

    Args:
        name: Below configs/transfer, without '.py'.
        folder: To write to.
        **lines: What stands behind ``_data_root = ``, ...
    """
    path = FOLDER / f'{name}.py'
    text = path.read_text()
    top = text.partition('_base_ = ')[0]
    assert len(lines) == 3 == len(re.findall(r'^_\w+ = ', top, re.M))
    for key, value in lines.items():
        text, number = re.subn(rf'^{key} = [^=]*?(?=^_|\n\n)',
                               f'{key} = {value!r}\n', text, 1, re.M)
        assert number == 1, key
    (folder / path.name).write_text(text)
    return Config.fromfile(folder / path.name)
