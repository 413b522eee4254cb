import json

from mmdino.datasets.benchmarks.layouts import LAYOUTS
from mmdino.experiments.report import Outcome, write_report

OUTCOMES = [
    Outcome('k-NN', 'Images', {
        '20-NN top-1, %': 61.25,
        'share': .5
    }, 3.),
    Outcome(
        'retrieval',
        'Revisited Oxford',
        lacking='no file a|b\nhere',
        layout='roxford5k'),
    Outcome('linear', 'Images', error='ValueError: no'),
    Outcome('t-SNE', 'Images', pictures=('tsne/tsne.png', ))
]


def test_every_outcome_is_a_row(tmp_path):
    write_report(OUTCOMES, dict(checkpoint='x.pth'), tmp_path)
    text = (tmp_path / 'report.md').read_text()
    for line in ('- checkpoint: `x.pth`',
                 '| k-NN | Images | 20-NN top-1, % | 61.2 |',
                 '| k-NN | Images | share | 0.500 |',
                 r'| retrieval | Revisited Oxford | skipped | no file a\|b '
                 'here |', '| linear | Images | failed | ValueError: no |',
                 '![t-SNE](tsne/tsne.png)'):
        assert line in text.splitlines(), line
    assert LAYOUTS['roxford5k'].tree in text
    assert LAYOUTS['davis2017'].tree not in text

    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['checkpoint'] == 'x.pth'
    rows = [o._asdict() for o in OUTCOMES]
    assert report['evaluations'] == json.loads(json.dumps(rows))
    assert sorted(p.name
                  for p in tmp_path.iterdir()) == ['report.json', 'report.md']


def test_the_layouts_are_documented():
    text = open('configs/benchmarks/README.md').read()
    for layout in LAYOUTS.values():
        assert layout.tree in text and layout.source in text
