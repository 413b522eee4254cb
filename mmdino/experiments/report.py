"""The suite's report: figures, and what was left out and why."""
from pathlib import Path
from typing import NamedTuple

from mmdino.datasets.benchmarks.layouts import LAYOUTS, Layout
from mmdino.experiments.jobs import Attempt, table, write_json, write_text


class Outcome(NamedTuple):
    """The result of a row.

    Attributes:
        title: What was measured, for instance 'retrieval'.
        data: Name of the data set.
        attempt: The result, or why there is none.
        layout: Key of :data:`.LAYOUTS`, whose folders the report describes if
            data are missing.
    """
    title: str
    data: str
    attempt: Attempt
    layout: str | None = None

    @property
    def result(self) -> dict:
        """Return ``values`` or ``pictures``, and ``seconds``."""
        return self.attempt.result or {}


def write_report(outcomes: list[Outcome], head: dict[str, str],
                 folder: str | Path) -> None:
    """Write ``report.md`` and ``report.json``.

    Args:
        outcomes: The results, in the order of the table.
        head: What was evaluated: config, checkpoint, data folder.
        folder: Folder of the files.
    """
    rows = [
        dict(
            title=o.title,
            data=o.data,
            values={},
            seconds=0.,
            pictures=[],
            lacking=o.attempt.lacking,
            layout=o.layout,
            error=o.attempt.error) | o.result for o in outcomes
    ]
    write_json(Path(folder) / 'report.json', dict(head, evaluations=rows))
    write_text(Path(folder) / 'report.md', markdown(outcomes, head) + '\n')


def markdown(outcomes: list[Outcome], head: dict[str, str]) -> str:
    """Format the report: head, table, pictures, missing layouts."""
    pictures = [(o.title, p) for o in outcomes
                for p in o.result.get('pictures', ())]
    wanted = dict.fromkeys(o.layout for o in outcomes if o.attempt.lacking)
    return '\n\n'.join([
        '# Evaluation',
        '\n'.join(f'- {name}: `{value}`' for name, value in head.items()),
        as_table(outcomes), *(f'![{title}]({picture})'
                              for title, picture in pictures),
        *(describe_layout(LAYOUTS[name]) for name in wanted if name)
    ])


def as_table(outcomes: list[Outcome]) -> str:
    """Format a table with a line for each figure, picture or failure."""
    rows = [('evaluation', 'data', 'measure', 'value')]
    for o in outcomes:
        cells = [(name, _number(value))
                 for name, value in o.result.get('values', {}).items()]
        cells += [('picture', f'[{p}]({p})')
                  for p in o.result.get('pictures', ())]
        if o.attempt.lacking:
            cells.append(('skipped', o.attempt.lacking))
        elif o.attempt.error:
            cells.append(('failed', o.attempt.error))
        rows += [(o.title, o.data, *cell) for cell in cells]
    return table(rows)


def describe_layout(layout: Layout) -> str:
    """Describe how to lay out a data set in the data folder."""
    return (f'{layout.title}, from <{layout.source}>, below the data folder:'
            f'\n\n```\n{layout.tree}\n```')


def _number(value: float) -> str:
    return f'{value:.3f}' if abs(value) <= 1 else f'{value:.1f}'
