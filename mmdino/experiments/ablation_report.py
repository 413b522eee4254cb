"""A measured table as Markdown, CSV, JSON and a picture."""
import csv
import io
import json
import os
from pathlib import Path
from statistics import fmean
from typing import Dict, List, NamedTuple, Optional, Sequence

from mmdino.experiments.ablations import Figures
from mmdino.pictures.ablations import draw_ablation, draw_collapse

COLUMNS = (('knn', 'k-NN top-1, %', 1), ('linear', 'linear top-1, %', 1),
           ('entropy', 'teacher entropy, nats', 2), ('kl', 'KL, nats', 2),
           ('information', 'target information, nats', 2))


class TableRow(NamedTuple):
    """A row of a table.

    Attributes:
        name: The config's name.
        title: What it changes.
        figures: By the seed, those of the runs that have ended.
        error: Why a run failed.
    """
    name: str
    title: str
    figures: Dict[int, Figures]
    error: Optional[str] = None


def write_table(rows: Sequence[TableRow], head: Dict[str, str],
                folder: Path) -> List[Path]:
    """Write table.md, .csv, .json and .png, and the curves in collapse.png.

    Args:
        rows: In the order of the table.
        head: What is common to all: table, base, data, epochs, seeds and
            processes.
        folder: Where to.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        'table.md': markdown(rows, head),
        'table.csv': as_csv(rows),
        'table.json': as_json(rows, head)
    }
    for name, text in texts.items():
        part = folder / f'{name}.part'
        part.write_text(text)
        os.replace(part, folder / name)
    names = list(texts)
    done = [row for row in rows if row.figures]
    if done:
        scores = {
            row.name: [(f.knn, f.linear) for f in row.figures.values()]
            for row in done
        }
        draw_ablation(scores, head['table'], folder / 'table.png')
        runs = {
            row.name: next(iter(row.figures.values())).folder
            for row in done
        }
        draw_collapse(runs, folder / 'collapse.png')
        names += ['table.png', 'collapse.png']
    return [folder / name for name in names]


def markdown(rows: Sequence[TableRow], head: Dict[str, str]) -> str:
    """The table: means over the seeds, and from least to most if several."""
    lines = [f'{name}: `{value}`' for name, value in head.items()]
    titles = ['', 'row', *(title for _, title, _ in COLUMNS), 'collapse']
    table = [titles, ['---'] * len(titles)]
    for row in rows:
        cells = [
            _cell([getattr(f, key) for f in row.figures.values()], digits)
            for key, _, digits in COLUMNS
        ]
        verdicts = dict.fromkeys(f.collapse for f in row.figures.values())
        error = ' '.join((row.error or '').replace('|', '/').split())
        notes = [v for v in (*verdicts, error) if v]
        table.append([row.title, row.name, *cells, '; '.join(notes)])
    text = '\n'.join(f'| {" | ".join(cells)} |' for cells in table)
    return '  \n'.join(lines) + f'\n\n{text}\n'


def as_csv(rows: Sequence[TableRow]) -> str:
    """A line a run."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(['row', 'seed', *Figures._fields])
    for row in rows:
        for seed, figures in row.figures.items():
            writer.writerow([row.name, seed, *figures])
    return file.getvalue()


def as_json(rows: Sequence[TableRow], head: Dict[str, str]) -> str:
    """All that is known."""
    content = [
        dict(
            row._asdict(),
            figures={
                s: f._asdict()
                for s, f in row.figures.items()
            }) for row in rows
    ]
    return json.dumps(dict(head, rows=content), indent=2) + '\n'


def _cell(values: List[Optional[float]], digits: int) -> str:
    values = [value for value in values if value is not None]
    if not values:
        return '-'
    mean, low, high = (f'{v:.{digits}f}'
                       for v in (fmean(values), min(values), max(values)))
    return mean if len(values) == 1 else f'{mean} ({low} - {high})'
