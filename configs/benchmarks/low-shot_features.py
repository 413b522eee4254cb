# Logistic regression on saved features; see knn_features.py. The gallery is
# the whole file; set `indices` of its dataset to use a part.
_base_ = 'knn_features.py'

test_evaluator = dict(
    _delete_=True, type='LowShotAccuracy', C=(10., 100., 1000., 10000.))
