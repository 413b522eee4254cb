import json

import pytest
from PIL import Image

from mmdino.pictures.ablations import draw_collapse, find_prototypes, name_runs
from tests.tools.test_train_and_test import in_process


def write_run(root, entropies, prototypes=None, key='teacher_entropy'):
    folder = root / '20260101_000000' / 'vis_data'
    folder.mkdir(parents=True)
    lines = [
        json.dumps({
            'loss': 1.,
            key: entropy,
            'kl': .5,
            'target_information': .2,
            'step': step
        }) for step, entropy in enumerate(entropies, 1)
    ]
    (folder / 'scalars.json').write_text('\n'.join(lines))
    if prototypes:
        (root / 'config.py'
         ).write_text(f'model = dict(head=dict(out_dim={prototypes}))')
    return root


def test_runs_side_by_side(tmp_path):
    runs = dict(
        both=write_run(tmp_path / 'a', [4., 3.], 64),
        none=write_run(tmp_path / 'b', [4.1, 4.16, 4.16], 64))
    assert find_prototypes(runs['both']) == 64
    figure = draw_collapse(runs, tmp_path / 'out.png')
    entropy, kl, information = figure.axes
    curves = [line.get_ydata().tolist() for line in kl.lines]
    assert curves == [[.5, .5], [.5, .5, .5]]
    assert information.lines[0].get_ydata().tolist() == [.2, .2]
    assert [list(map(float, line.get_ydata()))
            for line in entropy.lines[:2]] == [[4., 3.], [4.1, 4.16, 4.16]]
    assert [t.get_text() for t in entropy.texts] == ['uniform: ln 64']
    low, high = entropy.get_ylim()
    assert low == 0 and high > 4.16
    assert [t.get_text() for t in figure.legends[0].texts] == ['both', 'none']
    assert Image.open(tmp_path / 'out.png').width > 500


def test_a_run_without_divergence_has_no_curve_of_it(tmp_path):
    log, = write_run(tmp_path / 'mse', [4., 3.]).rglob('scalars.json')
    log.write_text(log.read_text().replace('"kl"', '"other"'))
    runs = dict(mse=log, dino=write_run(tmp_path / 'dino', [4., 3.]))
    entropy, kl, _ = draw_collapse(runs).axes
    assert [line.get_label() for line in kl.lines] == ['dino']
    colors = {line.get_label(): line.get_color() for line in entropy.lines}
    assert kl.lines[0].get_color() == colors['dino'] != colors['mse']


def test_names_and_errors(tmp_path):
    for name in ('x/run', 'y/run', 'z/other'):
        (tmp_path / name).mkdir(parents=True)
    paths = [tmp_path / 'x/run', tmp_path / 'y/run', tmp_path / 'z/other']
    assert [n for n, _ in name_runs(paths)] == ['x/run', 'y/run', 'z/other']
    assert [n for n, _ in name_runs(paths[1:])] == ['run', 'other']
    with pytest.raises(ValueError, match='given twice'):
        name_runs([paths[0], paths[0]])
    assert find_prototypes(paths[0]) is None
    with pytest.raises(FileNotFoundError, match='x/run holds no scalars'):
        draw_collapse(dict(a=paths[0]))
    with pytest.raises(ValueError, match="has no 'teacher_entropy'"):
        draw_collapse(dict(a=write_run(tmp_path / 'a', [1.], key='other')))
    with pytest.raises(ValueError, match='no run'):
        draw_collapse({})


def test_tool(tmp_path):
    run = write_run(tmp_path / 'a', [4., 3.])
    in_process('visualization/collapse', run, '--names', 'mine', '--out',
               tmp_path / 'new' / 'c.png')
    assert (tmp_path / 'new' / 'c.png').exists()
    with pytest.raises(SystemExit):
        in_process('visualization/collapse', run, '--names', 'a', 'b')
    with pytest.raises(SystemExit):  # the second would hide the first
        in_process('visualization/collapse', run, run, '--names', 'a', 'a')
