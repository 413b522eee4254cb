import pytest
import torch

from mmdino.evaluation.metrics import LinearProbeAccuracy
from mmdino.models.frozen.features import Choice

# 7 images of class 0, two heads; the first 5 classes of each image
WEAK = [[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [1, 2, 3, 4, 0], [5, 6, 7, 8, 9],
        [5, 6, 7, 8, 9], [5, 6, 7, 8, 9], [5, 6, 7, 8, 9]]
STRONG = [[0, 1, 2, 3, 4]] * 3 + WEAK[3:]
WANTED = {
    'linear/lr0.01_top1': 100 / 7,
    'linear/lr0.01_top5': 300 / 7,
    'linear/lr0.1_top1': 300 / 7,
    'linear/lr0.1_top5': 300 / 7,
    'linear/best_top1': 300 / 7,
    'linear/best_top5': 300 / 7,
    'linear/best_lr': .1,
}


def samples(places):
    return [
        dict(
            gt_label=torch.tensor([0]),
            top_classes={
                .01: torch.tensor(WEAK[i]),
                .1: torch.tensor(STRONG[i])
            }) for i in places
    ]


def test_accuracy_by_hand():
    metric = LinearProbeAccuracy()
    metric.process(None, samples([0, 1, 2]))
    metric.process(None, samples([3, 4, 5, 6]))
    assert metric.evaluate(7) == pytest.approx(WANTED)


def rank_scores(rank, folder):
    """7 images on two ranks: the sampler repeats the first at the end."""
    metric = LinearProbeAccuracy()
    metric.process(None, samples([[0, 2, 4, 6], [1, 3, 5, 0]][rank]))
    assert metric.evaluate(7) == pytest.approx(WANTED)


def test_two_ranks_equal_one(tmp_path, two_ranks):
    two_ranks(rank_scores, tmp_path)


def test_few_classes_have_no_top5_and_the_first_of_equals_is_best():
    metric = LinearProbeAccuracy()
    top = {.5: torch.tensor([1, 0]), .7: torch.tensor([1, 0])}
    metric.process(None, [dict(gt_label=torch.tensor([1]), top_classes=top)])
    assert metric.evaluate(1) == {
        'linear/lr0.5_top1': 100.,
        'linear/lr0.7_top1': 100.,
        'linear/best_top1': 100.,
        'linear/best_lr': .5
    }


def test_the_best_is_chosen_on_one_part_and_measured_on_the_other():
    """The first head is better where it counts, and worse where it is told."""
    metric = LinearProbeAccuracy(choose_on=0)
    keys = [(Choice(1, False), .1), (Choice(4, True), .1)]
    right, wrong = torch.tensor([0, 1]), torch.tensor([1, 0])
    parts = [0, 0, 1, 1, 1, 1]
    hits = [[1, 0], [1, 1], [0, 1], [0, 1], [1, 1], [0, 0]]
    metric.process(None, [
        dict(
            gt_label=torch.tensor([0]),
            dataset_idx=part,
            top_classes={
                key: right if hit else wrong
                for key, hit in zip(keys, of_heads)
            }) for part, of_heads in zip(parts, hits)
    ])
    assert metric.evaluate(6) == {
        'linear/blocks1_lr0.1_top1': 25.,
        'linear/blocks4_mean_lr0.1_top1': 75.,
        'linear/best_top1': 25.,
        'linear/best_lr': .1,
        'linear/best_blocks': 1.,
        'linear/best_mean': 0.,
        'linear/chosen_on_top1': 100.
    }


def test_parts_to_choose_on_and_to_report():
    metric = LinearProbeAccuracy(choose_on=0)
    sample = dict(gt_label=torch.tensor([0]), top_classes={.1: torch.ones(2)})
    with pytest.raises(KeyError, match='no `dataset_idx`.*ConcatDataset'):
        metric.process(None, [sample])
    metric.process(None, [dict(sample, dataset_idx=1)])
    with pytest.raises(ValueError, match='Of 1 images 0 are of part 0'):
        metric.evaluate(1)


def test_errors():
    metric = LinearProbeAccuracy()
    with pytest.raises(KeyError, match='no `gt_label`.*cat.jpg'):
        metric.process(None, [dict(img_path='cat.jpg')])
    with pytest.raises(ValueError, match='got no image'):
        metric.evaluate(0)
