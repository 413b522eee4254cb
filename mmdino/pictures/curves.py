"""Training curves from the scalars that MMEngine's LocalVisBackend writes."""
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

PathLike = str | Path
Series = list[tuple[float, float]]

COLOR = '#2563ab'


class Panel(NamedTuple):
    """One panel of the figure.

    Attributes:
        key: Name of the scalar in the log.
        title: Heading.
        unit: Label of the vertical axis.
    """
    key: str
    title: str
    unit: str


PANELS = (
    Panel('loss', 'Loss', 'cross-entropy (nats)'),
    Panel('teacher_entropy', 'Teacher entropy', 'entropy (nats)'),
    Panel('kl', 'KL(teacher ‖ student)', 'divergence (nats)'),
    Panel('lr', 'Learning rate', 'learning rate'),
    Panel('weight_decay', 'Weight decay', 'weight decay'),
    Panel('momentum', 'Teacher momentum', 'momentum'),
)
# Panels with a reference line at ln K, the value of a uniform output.
UNIFORM = ('loss', 'teacher_entropy')


def read_scalars(path: PathLike) -> dict[str, Series]:
    """Read the scalars of a run, over all its interruptions.

    MMEngine logs validations by epoch; here they get the last training
    iteration that was logged before them. If a resumed run repeats iterations,
    the values of the later run are used. Logs without training are left out.

    Args:
        path: A ``scalars.json``, or a work dir that contains some.

    Returns:
        Pairs of iteration and value, in order, by the name of the scalar.

    Raises:
        FileNotFoundError: If there is no log of a training.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(path.rglob('scalars.json'))
    scalars: dict[str, Series] = {}
    for file in files:
        lines = [json.loads(line) for line in file.open() if line.strip()]
        first = next((line['step'] for line in lines if 'loss' in line), None)
        if first is None:
            continue
        for key, series in scalars.items():
            scalars[key] = [point for point in series if point[0] < first]
        _append(scalars, lines)
    if not scalars:
        raise FileNotFoundError(
            f'{path} holds no scalars.json with the log of a training: give '
            'the work dir of a run, whose visualizer must have a '
            'LocalVisBackend.')
    return scalars


def draw_curves(path: PathLike,
                out: PathLike | None = None,
                num_prototypes: int | None = None,
                panels: Sequence[Panel] = PANELS,
                knn_key: str = 'knn/k20_top1') -> Figure:
    """Draw loss, targets and schedules over the iterations.

    Args:
        path: A ``scalars.json`` or the work dir of a run.
        out: File to save the figure to.
        num_prototypes: Number of prototypes K; draws a line at ln K, the value
            of a uniform output.
        panels: The panels to draw; one without values in the log says so.
        knn_key: Validation score that gets a panel if it was logged.

    Raises:
        FileNotFoundError: If there is no log of a training.
    """
    scalars = read_scalars(path)
    if knn_key in scalars:
        panels = (*panels, Panel(knn_key, 'k-NN validation', 'top-1 (%)'))
    columns = 3 if len(panels) <= 6 else 4
    rows = math.ceil(len(panels) / columns)
    figure = Figure(
        figsize=(3.7 * columns, 2.75 * rows), layout='constrained', dpi=110)
    for place, panel in enumerate(panels, 1):
        axis = figure.add_subplot(rows, columns, place)
        _draw_panel(axis, panel, scalars.get(panel.key, []))
        axis.set_xlim(0, scalars['loss'][-1][0])
        if num_prototypes and panel.key in UNIFORM:
            _draw_uniform(axis, num_prototypes)
    if out is not None:
        figure.savefig(out)
    return figure


def _append(scalars: dict[str, Series], lines: list[dict]) -> None:
    """Append the scalars of one log file, in place."""
    iteration = max((points[-1][0] for points in scalars.values() if points),
                    default=0)
    for line in lines:
        if 'loss' in line:
            iteration = line['step']
        for key, value in line.items():
            if isinstance(value, (int, float)) and key != 'step':
                scalars.setdefault(key, []).append((iteration, value))


def _draw_panel(axis, panel: Panel, series: Series) -> None:
    axis.set_title(panel.title, fontsize=11, fontweight='bold')
    axis.set_xlabel('iteration', fontsize=9)
    axis.set_ylabel(panel.unit, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(alpha=.25)
    if not series:
        axis.text(
            .5,
            .5,
            f'`{panel.key}` was not logged',
            transform=axis.transAxes,
            ha='center',
            color='gray',
            fontsize=9)
        return
    axis.plot(
        *zip(*series),
        color=COLOR,
        linewidth=1.6 if len(series) <= 300 else .9,
        marker='o' if len(series) <= 30 else None,
        markersize=3.5,
        clip_on=False)
    axis.margins(y=.12)
    axis.locator_params(axis='x', nbins=5)
    axis.ticklabel_format(
        axis='y', style='sci', scilimits=(-3, 4), useOffset=False)
    axis.yaxis.get_offset_text().set_fontsize(8)


def _draw_uniform(axis, num_prototypes: int) -> None:
    level = math.log(num_prototypes)
    axis.axhline(level, color='gray', linestyle='--', linewidth=1)
    axis.annotate(
        f'uniform: ln {num_prototypes}', (1, level),
        xycoords=('axes fraction', 'data'),
        xytext=(0, -3),
        textcoords='offset points',
        ha='right',
        va='top',
        fontsize=8,
        color='gray')
