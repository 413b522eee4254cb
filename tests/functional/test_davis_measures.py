import cv2
import numpy as np
import pytest

from mmdino.functional.davis import (contour, contour_accuracy,
                                     frame_statistics, region_similarity,
                                     score_sequence)


def blobs(seed, shape=(2, 61, 83)):
    """Random masks with smooth borders that reach the image's."""
    noise = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    smooth = [cv2.GaussianBlur(frame, (0, 0), 6) for frame in noise]
    return np.stack(smooth) > 0


def benchmark_contour(seg):
    """The benchmark's definition (seg2bmap of D. Martin), written anew."""
    h, w = seg.shape
    out = np.zeros((h, w), bool)
    for y in range(h):
        for x in range(w):
            if y < h - 1 and x < w - 1:
                others = seg[y, x + 1], seg[y + 1, x], seg[y + 1, x + 1]
            elif y < h - 1:
                others = seg[y + 1, x],
            elif x < w - 1:
                others = seg[y, x + 1],
            else:
                others = ()
            out[y, x] = any(seg[y, x] != other for other in others)
    return out


def brute_force_f(prediction, truth, radius):
    """Every distance between two contour pixels."""
    ours, theirs = (
        np.argwhere(benchmark_contour(mask)) for mask in (prediction, truth))
    squared = ((ours[:, None] - theirs)**2).sum(-1)
    precision = (squared.min(axis=1) <= radius**2).mean()
    recall = (squared.min(axis=0) <= radius**2).mean()
    return 2 * precision * recall / (precision + recall)


def test_contour():
    for mask in blobs(0):
        assert (contour(mask) == benchmark_contour(mask)).all()
    assert not contour(np.ones((5, 6), bool)).any()


@pytest.mark.parametrize('tolerance, radius', [(.008, 1), (.03, 4)])
def test_contour_accuracy_against_all_distances(tolerance, radius):
    """The diagonal of 61 x 83 is 103.005: 0.82 and 3.09, rounded up."""
    prediction, truth = blobs(1), blobs(2)
    prediction[0, :, :40] = truth[0, :, :40]
    got = contour_accuracy(prediction, truth, tolerance)
    wanted = [brute_force_f(*pair, radius) for pair in zip(prediction, truth)]
    assert got == pytest.approx(wanted, abs=1e-12)
    assert 0 < got[1] < got[0] < 1


def test_contour_accuracy_by_hand():
    """At 480 x 854 the tolerance is 8 px: a square moved by 8 is matched."""
    truth = np.zeros((4, 480, 854), bool)
    truth[:, 100:300, 200:500] = True
    prediction = truth.copy()
    prediction[1] = np.roll(truth[1], 8, axis=1)
    prediction[2] = np.roll(truth[2], 9, axis=1)
    prediction[3] = np.roll(truth[3], 300, axis=1)
    got = contour_accuracy(prediction, truth)
    assert got[:2].tolist() == [1, 1]
    assert 0 < got[3] < got[2] < 1


def test_empty_masks():
    empty, full = np.zeros((1, 20, 20), bool), np.zeros((1, 20, 20), bool)
    full[0, 5:9, 5:9] = True
    for measure in (region_similarity, contour_accuracy):
        assert measure(empty, empty) == [1]
        assert measure(empty, full) == [0]
        assert measure(full, empty) == [0]
        assert measure(full, full) == [1]


def test_region_similarity_by_hand():
    truth, prediction = np.zeros((2, 1, 4, 6), bool)
    truth[0, :, :3] = True  # 12 pixels
    prediction[0, :2, 1:5] = True  # 8, of which 4 are in both
    assert region_similarity(prediction, truth) == [4 / 16]


def test_statistics_by_hand():
    """Quarters of 8 values end at 0, 2, 4, 5, 7, the ends in both."""
    values = np.array([.9, .8, .7, .6, .5, .4, .3, .2])
    mean, recall, decay = frame_statistics(values)
    assert mean == pytest.approx(.55)
    assert recall == 4 / 8  # .5 is not above .5
    assert decay == pytest.approx(
        np.mean([.9, .8, .7]) - np.mean([.4, .3, .2]))


def test_statistics_of_few_and_of_many_frames():
    assert frame_statistics(np.array([.7])) == (.7, 1, 0)
    # Beyond 256 frames the benchmark's uint8 indices wrap around.
    falling = np.linspace(1, 0, 401)
    assert frame_statistics(falling).decay == pytest.approx(.75)


def test_sequence():
    """The first and the last frame do not count; neither does object 3."""
    truth = np.zeros((4, 30, 40), np.uint8)
    truth[:, 5:15, 5:15], truth[:, 20:25, 20:30] = 1, 2
    truth[2, 20:25, 20:30] = 3  # object 2 is gone, an unknown one is there
    prediction = truth.copy()
    prediction[0], prediction[3] = 0, 1
    prediction[1, 5:15, 10:15] = 0  # half of object 1
    prediction[2, 20:25, 20:30] = 0
    region, accuracy = score_sequence(prediction, truth)
    assert region.tolist() == [[.5, 1], [1, 1]]
    assert accuracy.shape == (2, 2)
    assert accuracy[0, 0] < 1 and (accuracy[1] == 1).all()


def test_errors():
    masks = np.ones((2, 8, 8), np.uint8)
    with pytest.raises(ValueError, match='2 frames'):
        score_sequence(masks, masks)
    with pytest.raises(ValueError, match=r'\(2, 8, 8\) and \(3, 8, 8\)'):
        score_sequence(masks, np.ones((3, 8, 8), np.uint8))
    with pytest.raises(ValueError, match='no object'):
        score_sequence(np.zeros((3, 8, 8)), np.zeros((3, 8, 8)))
