"""Every measure against the authors' evaluation scripts, in float64.

What is not equal to the last bit is so within the rounding of float64.
"""
from collections import deque

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmdino.functional.davis import frame_statistics, score_sequence
from mmdino.functional.knn import knn_predict, top_accuracy
from mmdino.functional.label_propagation import (labels_to_mask,
                                                 propagate_labels)
from mmdino.functional.retrieval import (average_precision, crop_to_multiple,
                                         gem, learn_whitening, mean_scores,
                                         rescale, score_query, whiten)
from mmdino.models import VisionTransformer
from mmdino.weights.formats.official import from_official
from mmdino.weights.formats.ours import backbone_of
from tests import golden

NUM_HEADS = 3  # the weights do not tell
ROUNDING = dict(rtol=0, atol=1e-14)


def test_knn():
    """The similarities are float32 here; no vote of 150 changes by that."""
    data = golden.measure('knn')
    ks = [int(key[1:]) for key in data if key[1:].isdigit()]
    predictions = knn_predict(
        data['test'],
        data['train'],
        data['train_labels'],
        ks,
        temperature=float(data['temperature']))
    assert set(predictions) == {10, 20, 100, 200}
    num_classes = len(data['train_labels'].unique())
    for k, prediction in predictions.items():
        got = top_accuracy(prediction.classes, data['test_labels'],
                           num_classes)
        top1, top5 = data[f'k{k}'].tolist()
        assert got == pytest.approx(dict(top1=top1, top5=top5), abs=1e-12)


def test_retrieval():
    """With only hard positives the two protocols are one."""
    data = golden.measure('retrieval')
    kappas = data['kappas'].tolist()
    queries = [
        score_query(order.numpy(),
                    dict(easy=[], hard=data[f'ok{i}'], junk=data[f'junk{i}']),
                    kappas) for i, order in enumerate(data['ranks'].t())
    ]
    assert len(data['ok3']) == 0 and np.isnan(queries[3]['hard_map'])
    for protocol in ('medium', 'hard'):
        keys = [f'{protocol}_mp{k}' for k in kappas]
        for scores, area, precisions in zip(queries, data['aps'], data['prs']):
            close = dict(abs=1e-15, nan_ok=True)
            assert scores[f'{protocol}_map'] == pytest.approx(
                float(area), **close)
            assert [scores[key]
                    for key in keys] == pytest.approx(precisions.tolist(),
                                                      **close)
        means = mean_scores(queries)
        assert means[f'{protocol}_map'] == pytest.approx(
            float(data['map']), abs=1e-15)
        assert [means[key] for key in keys] == pytest.approx(
            data['pr'].tolist(), abs=1e-15)


@pytest.mark.parametrize('case', range(7))
def test_average_precision_of_copies(case):
    data = golden.measure('copy_ap')
    got = average_precision(data[f'ranks{case}'],
                            int(data[f'positives{case}']))
    assert got == data[f'ap{case}']


def test_whitening():
    """The eigenvectors' signs are free: they are taken from one image."""
    data = golden.measure('whitening')
    whitening = learn_whitening(data['learn'])
    query, base = (whiten(data[key], whitening) for key in ('query', 'base'))
    signs = (query[0] * data['whitened_query'][0]).sign()
    close = dict(rtol=0, atol=1e-12)
    torch.testing.assert_close(query * signs, data['whitened_query'], **close)
    torch.testing.assert_close(base * signs, data['whitened_base'], **close)


@pytest.fixture
def vit(float64):
    """Build the ViT of the authors' weights ``state.*``."""

    def build(data):
        weights = {
            key.removeprefix('state.'): value
            for key, value in data.items() if key.startswith('state.')
        }
        weights = backbone_of(from_official(weights))
        cfg = golden.vit_cfg(weights, NUM_HEADS)
        vit = VisionTransformer(**{
            k: v
            for k, v in cfg.items() if k != 'type'
        })
        vit.load_state_dict(weights)
        vit.eval()
        return vit

    return build


@torch.no_grad()
def test_class_token_and_gem(vit):
    data = golden.measure('vit_features')
    tokens = vit(data).last_blocks(data['copy_input'])[0]
    got = torch.cat([tokens[:, 0], gem(tokens[:, 1:])], dim=1)
    torch.testing.assert_close(got, data['copy_features'], **ROUNDING)


@torch.no_grad()
def test_three_scales(vit):
    """64 x 80 px become 45 x 56, of which a patch of 8 leaves 40 x 56."""
    data = golden.measure('vit_features')
    network, image = vit(data), data['multiscale_input']
    by_scale = [
        network(crop_to_multiple(rescale(image, scale), network.patch_size))[0]
        for scale in (1, .5**.5, .5)
    ]
    got = F.normalize(torch.stack(by_scale).mean(dim=0), dim=1)
    torch.testing.assert_close(got, data['multiscale_features'], **ROUNDING)


@torch.no_grad()
def test_label_propagation(vit):
    """Soft labels of every frame, then the last frame's at full size."""
    data = golden.measure('propagation')
    grid, size = data['first'].shape[1:], data['video'].shape[2:]
    tokens = vit(data).last_blocks(data['video'])[0][:, 1:]
    features = F.normalize(tokens, dim=-1).unflatten(1, grid)
    first = features[0], data['first']
    recent = deque(maxlen=int(data['context']))
    for frame, wanted in zip(features[1:], data['segs'], strict=True):
        sources, labels = map(torch.stack, zip(first, *recent))
        got = propagate_labels(frame, sources, labels,
                               int(data['neighborhood']), int(data['topk']),
                               float(data['temperature']))
        torch.testing.assert_close(got, wanted, **ROUNDING)
        recent.append((frame, got))
    mask = labels_to_mask(got, size, data['last_labels'].shape)
    assert mask.long().equal(data['last_labels'])


def test_davis():
    """J and F to the last bit; our scores leave out both end frames."""
    data = {k: v.numpy() for k, v in golden.measure('davis').items()}
    scores = score_sequence(data['result'], data['truth'])
    for letter, objects in zip('jf', scores):
        assert len(objects) == 2
        for number, values in enumerate(objects, 1):
            wanted = data[f'{letter}{number}']
            assert (values == wanted[1:-1]).all()
            assert frame_statistics(wanted) == pytest.approx(
                data[f'{letter}{number}_mean_recall_decay'], abs=1e-15)
