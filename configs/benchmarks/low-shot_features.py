# Logistic regression on saved features; see knn_features.py. The gallery is
# all of the file: give its dataset `indices` to choose.
_base_ = 'knn_features.py'

test_evaluator = dict(
    _delete_=True, type='LowShotAccuracy', C=(10., 100., 1000., 10000.))
