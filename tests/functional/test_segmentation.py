"""Against definitions written out and scikit-learn."""
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from sklearn.metrics import confusion_matrix, jaccard_score

from mmdino.functional.segmentation import (confusion, knn_scores,
                                            patch_labels, pixel_classes,
                                            ridge_classifier,
                                            segmentation_scores)


def test_a_patch_has_its_most_frequent_number():
    mask = torch.zeros(8, 12, dtype=torch.int64)
    mask[:4, :4] = 3
    mask[0, 0] = 255
    mask[4:, 4:7] = 2
    assert patch_labels(mask, (2, 3), 4).tolist() == [[3, 0, 0], [0, 2, 0]]
    # Of another size: by nearest neighbours.
    assert patch_labels(mask, (2, 3), 2).tolist() == [[3, 0, 0], [0, 2, 0]]
    assert (patch_labels(torch.full((5, 5), 255), (2, 2), 2) == 255).all()


def test_votes_by_definition():
    queries, gallery = torch.randn(7, 5), torch.randn(30, 5)
    labels = torch.randint(4, (30, ))
    found = knn_scores(queries, gallery, labels, 4, k=6, temperature=.1)
    alike = F.normalize(queries, dim=1) @ F.normalize(gallery, dim=1).T
    for row, scores in zip(alike, found):
        votes = torch.zeros(4)
        for place in row.argsort(descending=True)[:6]:
            votes[labels[place]] += (row[place] / .1).exp()
        torch.testing.assert_close(scores, votes / votes.sum())


def test_the_linear_layer_is_scikit_learns():
    features = 3 * torch.randn(200, 6) + 1
    features[:, 2] = 5  # constant
    labels = torch.randint(3, (200, ))
    weight, bias = ridge_classifier(features, labels, 3, penalty=.01)
    rows = features.double().numpy()
    rows = (rows - rows.mean(0)) / np.maximum(rows.std(0), 1e-9)
    model = Ridge(alpha=.01 * 200).fit(rows, np.eye(3)[labels])
    np.testing.assert_allclose(
        features.double() @ weight.T + bias, model.predict(rows), atol=1e-8)


def test_scores():
    truth = torch.tensor([[0, 0, 1], [2, 255, -1]])
    predicted = torch.tensor([[0, 1, 1], [2, 0, 1]])
    matrix = confusion(predicted, truth, 4)
    counts = (truth >= 0) & (truth < 4)
    expected = confusion_matrix(
        truth[counts], predicted[counts], labels=range(4))
    assert matrix.tolist() == expected.tolist()
    found = segmentation_scores(matrix)
    assert found['accuracy'] == 75
    np.testing.assert_allclose(
        found['miou'],
        100 * jaccard_score(truth[counts], predicted[counts], average='macro'))


def test_pixels_take_the_largest_enlarged_score():
    scores = torch.tensor([[[1., 0.]], [[0., 1.]]])
    assert pixel_classes(scores, (2, 8)).tolist() == [[0] * 4 + [1] * 4] * 2
