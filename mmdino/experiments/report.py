"""One table of what was measured and of what was left out, and why."""
import json
import os
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Union

from mmdino.datasets.benchmarks.layouts import LAYOUTS


class Outcome(NamedTuple):
    """What came of one evaluation.

    Attributes:
        title: What was measured, for instance 'retrieval'.
        data: The data set's name.
        values: The figures by their names; percent unless the name says
            otherwise.
        seconds: Wall time.
        pictures: Files, relative to the report.
        lacking: Why it could not be run, naming the first missing file.
        layout: Key of :data:`LAYOUTS`: how to lay out what is lacking.
        error: Why it failed.
    """
    title: str
    data: str
    values: Dict[str, float] = {}
    seconds: float = 0.
    pictures: Sequence[str] = ()
    lacking: Optional[str] = None
    layout: Optional[str] = None
    error: Optional[str] = None


def write_report(outcomes: List[Outcome], head: Dict[str, str],
                 folder: Union[str, Path]) -> None:
    """Write ``report.md`` and ``report.json``, each as a whole or not at all.

    Args:
        outcomes: In the order of the table.
        head: What was evaluated: config, checkpoint, data folder.
        folder: Where to.
    """
    rows = [outcome._asdict() for outcome in outcomes]
    text = json.dumps(dict(head, evaluations=rows), indent=2)
    for name, content in (('report.json', text), ('report.md',
                                                  markdown(outcomes, head))):
        path = Path(folder) / name
        part = path.with_name(f'{name}.part')
        part.write_text(content + '\n')
        os.replace(part, path)


def markdown(outcomes: List[Outcome], head: Dict[str, str]) -> str:
    """The report as Markdown: head, table, pictures, missing layouts."""
    parts = [
        '# Evaluation',
        '\n'.join(f'- {name}: `{value}`' for name, value in head.items()),
        table(outcomes)
    ]
    parts += [
        f'![{outcome.title}]({picture})' for outcome in outcomes
        for picture in outcome.pictures
    ]
    wanted = dict.fromkeys(o.layout for o in outcomes if o.lacking)
    parts += [describe(LAYOUTS[name]) for name in wanted if name]
    return '\n\n'.join(parts)


def table(outcomes: List[Outcome]) -> str:
    """A line for each figure, or for what was left out."""
    lines = ['| evaluation | data | measure | value |', '|---|---|---|---|']
    for outcome in outcomes:
        start = f'| {outcome.title} | {outcome.data} |'
        if outcome.lacking:
            lines.append(f'{start} skipped | {_cell(outcome.lacking)} |')
        elif outcome.error:
            lines.append(f'{start} failed | {_cell(outcome.error)} |')
        for name, value in outcome.values.items():
            lines.append(f'{start} {name} | {_number(value)} |')
        for picture in outcome.pictures:
            lines.append(f'{start} picture | [{picture}]({picture}) |')
    return '\n'.join(lines)


def describe(layout) -> str:
    """How to lay a data set out below the data folder."""
    return (f'{layout.title}, from <{layout.source}>, below the data folder:'
            f'\n\n```\n{layout.tree}\n```')


def _number(value: float) -> str:
    return f'{value:.3f}' if abs(value) <= 1 else f'{value:.1f}'


def _cell(text: str) -> str:
    return ' '.join(text.replace('|', r'\|').split())
