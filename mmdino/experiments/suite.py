"""The paper's evaluations, each one a line of the suite's table."""
from typing import Callable, Dict, NamedTuple, Optional, Tuple

from mmengine.config import Config

from mmdino.experiments.suite_configs import (Job, benchmark, fine_tune, knn,
                                              linear, low_shot, own_attention)


class Evaluation(NamedTuple):
    """A line of the suite.

    Attributes:
        key: Its name on the command line and that of its folder.
        title: What is measured.
        tool: Which script of tools/ runs it, 'test' or 'train'.
        prepare: Makes the config to run.
        values: Names of the figures by the metrics' keys.
        layout: Its data, a key of :data:`mmdino.datasets.layouts.LAYOUTS`;
            None for the run's own.
        saved: Whether it reads saved features, in one process.
        long: Whether it takes a day and is run only when asked for.
    """
    key: str
    title: str
    tool: str
    prepare: Callable[[Job], Config]
    values: Dict[str, str]
    layout: Optional[str] = None
    saved: bool = False
    long: bool = False


RETRIEVAL = {
    'retrieval/medium_map': 'mAP, Medium',
    'retrieval/medium_mp10': 'mP@10, Medium',
    'retrieval/hard_map': 'mAP, Hard',
    'retrieval/hard_mp10': 'mP@10, Hard'
}
KNN = {f'knn/k{k}_top1': f'{k}-NN top-1, %' for k in (10, 20, 100, 200)}
LOW_SHOT = {
    f'low_shot/c{c}_top1': f'top-1, C = {c}, %'
    for c in (10, 100, 1000, 10000)
}
LINEAR = {
    'linear/best_top1': 'top-1, %',
    'linear/best_lr': 'learning rate of 256 images'
}
FINE_TUNED = {'accuracy/top1': 'top-1, %'}
JACCARD = {'attention/jaccard': 'Jaccard index'}

EVALUATIONS: Tuple[Evaluation, ...] = (
    Evaluation('knn', 'k-NN', 'test', knn, KNN, saved=True),
    Evaluation('linear', 'linear classifier', 'train', linear, LINEAR),
    Evaluation(
        'low-shot-1',
        '1% of the labels',
        'test',
        low_shot(.01),
        LOW_SHOT,
        saved=True),
    Evaluation(
        'low-shot-10',
        '10% of the labels',
        'test',
        low_shot(.1),
        LOW_SHOT,
        saved=True),
    Evaluation('attention', 'attention of the best head', 'test',
               own_attention, JACCARD),
    Evaluation('voc12', 'attention of the best head', 'test',
               benchmark('attention-voc12.py'), JACCARD, 'voc2012'),
    Evaluation('roxford', 'retrieval', 'test',
               benchmark('retrieval-roxford.py'), RETRIEVAL, 'roxford5k'),
    Evaluation('rparis', 'retrieval', 'test', benchmark('retrieval-rparis.py'),
               RETRIEVAL, 'rparis6k'),
    Evaluation('copydays', 'copy detection', 'test', benchmark('copydays.py'),
               {'copydays/map': 'mAP'}, 'copydays'),
    Evaluation(
        'davis', 'video segmentation', 'test', benchmark('davis.py'), {
            'davis/jf_mean': 'J&F mean',
            'davis/j_mean': 'J mean',
            'davis/j_recall': 'J recall',
            'davis/j_decay': 'J decay',
            'davis/f_mean': 'F mean',
            'davis/f_recall': 'F recall',
            'davis/f_decay': 'F decay'
        }, 'davis2017'),
    *(Evaluation(
        f'fine-tune-{name}',
        'fine-tuning',
        'train',
        fine_tune(name),
        FINE_TUNED,
        name,
        long=True) for name in ('cifar10', 'cifar100', 'flowers102', 'cars',
                                'inat18', 'inat19', 'imagenet')),
)
