"""Figures of ablations: collapse curves and accuracies.

Figure 7 of arXiv 2104.14294.
"""
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure
from mmengine.config import Config

from mmdino.pictures.curves import read_scalars

PANELS = (('teacher_entropy', 'Teacher entropy', 'entropy (nats)'),
          ('kl', 'KL(teacher ‖ student)', 'divergence (nats)'),
          ('target_information', 'What a target tells about its image',
           'mutual information (nats)'))


def find_prototypes(run: str | Path) -> int | None:
    """Return K of a run, from the config in its work dir."""
    for path in sorted(Path(run).glob('*.py')):
        model = Config.fromfile(path).get('model') or {}
        if 'out_dim' in model.get('head', {}):
            return model['head']['out_dim']
    return None


def draw_collapse(runs: dict[str, str | Path],
                  out: str | Path | None = None) -> Figure:
    """Draw the curves that show a collapse, one colour a run.

    In a collapse all images have the same target. The teacher entropy is then
    0 (one prototype) or ln K (all prototypes equally) with a divergence of 0,
    or it has another value with a mutual information of 0. A run whose loss is
    no cross-entropy logs no divergence and has no such curve.

    Args:
        runs: Work dirs, or their ``scalars.json``, by the names to show.
        out: File to save the figure to.

    Raises:
        FileNotFoundError: If a run has no log.
        ValueError: If there is no run, or a log lacks one of the other curves.
    """
    if not runs:
        raise ValueError('draw_collapse got no run.')
    figure = Figure(figsize=(13, 4), layout='constrained', dpi=110)
    axes = figure.subplots(1, len(PANELS))
    for number, (name, run) in enumerate(runs.items()):
        scalars = read_scalars(run)
        for axis, (key, *_) in zip(axes, PANELS):
            if key in scalars:
                axis.plot(
                    *zip(*scalars[key]),
                    f'C{number}',
                    label=name,
                    linewidth=1.5)
            elif key != 'kl':
                raise ValueError(f'The log of {run} has no {key!r}: give the '
                                 "work dir of a pretraining with mmdino's "
                                 'DINO.')
    for axis, (_, title, unit) in zip(axes, PANELS):
        axis.set_title(title, fontweight='bold')
        axis.set(xlabel='iteration', ylabel=unit)
        axis.spines[['top', 'right']].set_visible(False)
        axis.grid(alpha=.25)
    for level in sorted(_uniform_levels(runs)):
        axes[0].axhline(level, color='gray', linestyle='--', linewidth=1)
        axes[0].annotate(
            f'uniform: ln {round(math.exp(level))}', (1, level),
            xycoords=('axes fraction', 'data'),
            xytext=(0, 3),
            textcoords='offset points',
            ha='right',
            fontsize=8,
            color='gray')
    for axis in axes:
        axis.set_ylim(bottom=0)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc='outside lower center',
        ncols=min(len(runs), 5),
        frameon=False)
    if out is not None:
        figure.savefig(out)
    return figure


def _uniform_levels(runs: dict[str, str | Path]) -> list[float]:
    prototypes = {find_prototypes(run) for run in runs.values()}
    return [math.log(k) for k in prototypes - {None}]


def name_runs(paths: list[Path]) -> list[tuple[str, Path]]:
    """Name runs by their folders, with parent folders if names are equal.

    Raises:
        ValueError: If a run is given twice.
    """
    parts = 1
    while len({p.absolute().parts[-parts:] for p in paths}) < len(paths):
        parts += 1
        if parts > 20:
            raise ValueError(f'A run is given twice: {paths}.')
    return [('/'.join(p.absolute().parts[-parts:]), p) for p in paths]


def draw_ablation(scores: dict[str, Sequence[tuple[float, float]]],
                  title: str,
                  out: str | Path | None = None,
                  classifier: str = 'linear') -> Figure:
    """Draw two bars for each row, with a dot for each of several seeds.

    Args:
        scores: For each row, by its name, the top-1 accuracies of k-NN and of
            a classifier in percent, one pair for each seed.
        title: Heading.
        out: File to save the figure to.
        classifier: Name of the classifier in the legend.

    Raises:
        ValueError: If there is no row.
    """
    if not scores:
        raise ValueError('draw_ablation got no row.')
    figure = Figure(
        figsize=(7, 1.2 + .55 * len(scores)), layout='constrained', dpi=110)
    axis = figure.add_subplot()
    series = (('k-NN', '#2563ab'), (classifier, '#e08a3c'))
    for side, (name, color) in enumerate(series):
        places = [row + .2 - .4 * (1 - side) for row in range(len(scores))]
        means = [fmean(pair[side] for pair in s) for s in scores.values()]
        bars = axis.barh(places, means, height=.36, color=color, label=name)
        axis.bar_label(bars, fmt='%.1f', padding=6, fontsize=8)
        for place, runs in zip(places, scores.values()):
            if len(runs) > 1:
                axis.plot([pair[side] for pair in runs], [place] * len(runs),
                          'o',
                          color='black',
                          markersize=2.5)
    axis.set_yticks(range(len(scores)), list(scores))
    axis.invert_yaxis()
    axis.set_xlabel('top-1 (%)')
    axis.set_title(title, fontweight='bold')
    axis.margins(x=.12, y=.02)
    axis.spines[['top', 'right']].set_visible(False)
    figure.legend(loc='outside lower center', ncols=2, frameon=False)
    if out is not None:
        figure.savefig(out)
    return figure
