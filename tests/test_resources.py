from pathlib import Path

import pytest

from mmdino.utils.resources import find_config, resource


def test_configs_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = resource('configs') / 'dino_vit-s16.py'
    for name in ('dino_vit-s16', 'dino_vit-s16.py', 'configs/dino_vit-s16.py',
                 str(expected)):
        assert Path(find_config(name)) == expected
    found = Path(find_config('dino_resnet10_images'))
    assert found == resource('configs') / 'quickstart/dino_resnet10_images.py'
    (tmp_path / 'dino_vit-s16').write_text('')
    assert find_config('dino_vit-s16') == 'dino_vit-s16'


def test_absent_names():
    with pytest.raises(FileNotFoundError, match="Did you mean 'dino_vit-s16'"):
        find_config('dino_vit-s17')
    with pytest.raises(FileNotFoundError, match='installed without its none'):
        resource('none')
