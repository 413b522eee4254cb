"""The measured table of an ablation, as Markdown, CSV, JSON and figures."""
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from mmdino.experiments.ablations import PATCHES, Figures, Row
from mmdino.experiments.jobs import table, write_json, write_text
from mmdino.pictures.ablations import draw_ablation, draw_collapse


class TableRow(NamedTuple):
    """One row of a measured table.

    Attributes:
        row: The row.
        figures: Figures of the finished runs, by seed.
        error: Why a run failed, or which data are missing.
    """
    row: Row
    figures: dict[int, Figures]
    error: str | None = None


def write_table(rows: Sequence[TableRow], head: dict[str, str],
                folder: Path) -> list[Path]:
    """Write table.md, .csv, .json and .png, and the curves in collapse.png.

    Args:
        rows: The rows, in their order.
        head: What is common to all rows: table, base, data, epochs, seeds,
            processes and classifier.
        folder: Folder of the files.

    Returns:
        The written files; the pictures are missing if no run is finished.
    """
    write_text(folder / 'table.md', markdown(rows, head))
    write_text(folder / 'table.csv', as_csv(rows))
    write_json(folder / 'table.json', dict(head, rows=as_dicts(rows)))
    names = ['table.md', 'table.csv', 'table.json']
    done = {r.row.name: [*r.figures.values()] for r in rows if r.figures}
    if done:
        scores = {
            name: [(f.knn, f.classifier) for f in figures]
            for name, figures in done.items()
        }
        draw_ablation(scores, head['table'], folder / 'table.png',
                      head['classifier'])
        draw_collapse(
            {
                name: figures[0].folder
                for name, figures in done.items()
            }, folder / 'collapse.png')
        names += ['table.png', 'collapse.png']
    return [folder / name for name in names]


def markdown(rows: Sequence[TableRow], head: dict[str, str]) -> str:
    """Format the table: means over the seeds, with their range."""
    measured = [f for row in rows for f in row.figures.values()]
    columns: list[tuple[str, str, int]] = [
        ('knn', 'k-NN top-1, %', 1),
        ('classifier', f'{head["classifier"]} top-1, %', 1),
        *((key, title, 1) for key, title in PATCHES.items() if any(
            getattr(f, key) is not None for f in measured)),
        ('entropy', 'teacher entropy, nats', 2),
        ('kl', 'KL, nats', 2),
        ('information', 'target information, nats', 2),
    ]
    cells = [['', 'row', *(title for _, title, _ in columns), 'collapse']]
    for row, figures, error in rows:
        verdicts = dict.fromkeys(f.collapse for f in figures.values())
        cells.append([
            row.title, row.name,
            *(_cell([getattr(f, key) for f in figures.values()], digits)
              for key, _, digits in columns),
            '; '.join(v for v in (*verdicts, error) if v)
        ])
    lines = [f'{name}: `{value}`' for name, value in head.items()]
    return '  \n'.join(lines) + f'\n\n{table(cells)}\n'


def as_csv(rows: Sequence[TableRow]) -> str:
    """Format the table as CSV, with one line for each run."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(['row', 'seed', *Figures._fields])
    for row, figures, _ in rows:
        writer.writerows([row.name, seed, *f] for seed, f in figures.items())
    return file.getvalue()


def as_dicts(rows: Sequence[TableRow]) -> list[dict]:
    """Return all figures as dicts."""
    return [
        dict(
            name=row.name,
            title=row.title,
            figures={
                seed: f._asdict()
                for seed, f in figures.items()
            },
            error=error) for row, figures, error in rows
    ]


def _cell(values: list[float | None], digits: int) -> str:
    values = [value for value in values if value is not None]
    if not values:
        return '-'
    mean, low, high = (f'{v:.{digits}f}'
                       for v in (fmean(values), min(values), max(values)))
    return mean if len(values) == 1 else f'{mean} ({low} - {high})'
