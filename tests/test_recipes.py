"""Every recipe's numbers are those that were recorded, whatever it inherits.

``tests/data/recipes.json`` holds what each config came to when the bases were
lists of schedulers; settings as differences from dino_vit-s16.
"""
import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmdino.engine.configs import read_config
from tests.recipes import schedules, settings

RECORDED = json.loads(Path('tests/data/recipes.json').read_text())


def recorded_settings(name):
    recorded = RECORDED[name]
    base = RECORDED['dino_vit-s16']['settings']
    kept = {
        k: v
        for k, v in base.items() if k not in recorded.get('without', ())
    }
    return {**kept, **recorded['settings']}


@pytest.mark.parametrize('name', RECORDED)
def test_settings(name):
    cfg = read_config(f'configs/{name}.py')
    assert settings(cfg) == recorded_settings(name)


@pytest.mark.parametrize('name', RECORDED)
def test_schedules(name):
    values = schedules(read_config(f'configs/{name}.py'))
    for key, recorded in RECORDED[name]['schedules'].items():
        np.testing.assert_allclose(
            values[key],
            np.broadcast_to(recorded, len(values[key])),
            rtol=1e-9,
            atol=1e-12,
            err_msg=key)


@pytest.mark.parametrize('name', RECORDED)
def test_a_recipe_is_read_in_one_file(name):
    """It inherits from bases, never from another recipe."""
    bases = Config._get_base_files(f'configs/{name}.py')
    assert bases and all('_base_/' in base for base in bases)
