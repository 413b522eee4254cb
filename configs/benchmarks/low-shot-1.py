# Logistic regression on 1% of ImageNet's labels, on frozen features:
#   python tools/make_split.py data/imagenet --fraction 0.01
# writes the list of the labelled images.
_base_ = 'knn.py'

test_cfg = dict(
    gallery_dataloader=dict(
        dataset=dict(
            data_root='data/imagenet/low-shot_0.01_seed0.txt',
            subset='train')))
test_evaluator = dict(
    _delete_=True, type='LowShotAccuracy', C=(10., 100., 1000., 10000.))
