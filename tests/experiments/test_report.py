import json

from mmdino.datasets.benchmarks.layouts import LAYOUTS
from mmdino.experiments.jobs import Attempt
from mmdino.experiments.report import Outcome, write_report

OUTCOMES = [
    Outcome(
        'k-NN', 'Images',
        Attempt(
            dict(values={
                '20-NN top-1, %': 61.25,
                'share': .5
            }, seconds=3.))),
    Outcome('retrieval', 'Revisited Oxford',
            Attempt(lacking='no file a|b\nhere'), 'roxford5k'),
    Outcome('linear', 'Images', Attempt(error='ValueError: no')),
    Outcome('t-SNE', 'Images', Attempt(dict(pictures=['tsne/tsne.png'])))
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
    knn, retrieval, linear, tsne = report['evaluations']
    assert knn['values']['share'] == .5 and knn['lacking'] is None
    assert retrieval['lacking'] and retrieval['layout'] == 'roxford5k'
    assert linear['error'] == 'ValueError: no' and linear['values'] == {}
    assert tsne['pictures'] == ['tsne/tsne.png']
    assert sorted(p.name
                  for p in tmp_path.iterdir()) == ['report.json', 'report.md']


def test_the_layouts_are_documented():
    text = open('configs/benchmarks/README.md').read()
    for layout in LAYOUTS.values():
        assert layout.tree in text and layout.source in text
