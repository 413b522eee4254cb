# k-NN of features saved by tools/extract_features.py, in one process:
#   python tools/test.py configs/benchmarks/knn_features.py --cfg-options \
#       test_dataloader.dataset.path=DIR/queries.npz \
#       test_cfg.gallery_dataloader.dataset.path=DIR/gallery.npz
_base_ = '../_base_/default_runtime.py'

model = dict(type='SavedFeatures')

_rows = dict(
    batch_size=1024,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'))
test_dataloader = dict(
    _rows,
    dataset=dict(type='FeatureRows', path='work_dirs/features/queries.npz'))
test_cfg = dict(
    type='GalleryTestLoop',
    gallery_dataloader=dict(
        _rows,
        dataset=dict(
            type='FeatureRows', path='work_dirs/features/gallery.npz')))
test_evaluator = dict(type='KNNAccuracy', k=(10, 20, 100, 200))
