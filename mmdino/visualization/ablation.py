"""A table of k-NN and linear accuracies as a picture."""
from pathlib import Path
from statistics import fmean
from typing import Dict, Optional, Sequence, Tuple, Union

from matplotlib.figure import Figure

SERIES = (('k-NN', '#2563ab'), ('linear', '#e08a3c'))


def draw_ablation(scores: Dict[str, Sequence[Tuple[float, float]]],
                  title: str,
                  out: Optional[Union[str, Path]] = None) -> Figure:
    """Draw two bars a row, with a dot for each seed if there are several.

    Args:
        scores: By the row's name, k-NN and linear top-1 of each seed, in
            percent.
        title: Heading.
        out: Where to save the picture.

    Raises:
        ValueError: If there is no row.
    """
    if not scores:
        raise ValueError('draw_ablation got no row.')
    figure = Figure(
        figsize=(7, 1.2 + .55 * len(scores)), layout='constrained', dpi=110)
    axis = figure.add_subplot()
    for side, (name, color) in enumerate(SERIES):
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
