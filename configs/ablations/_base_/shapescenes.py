# The quickstart at half its width on ShapeScenes, for minutes on CPU cores:
#   python tools/ablate.py guard --base shapescenes
# Its two global views have names of their own, local ones can be switched on.
_base_ = '../../quickstart/dino_vit-tiny_shapescenes.py'

model = dict(
    backbone=dict(
        arch=dict(embed_dims=48, num_heads=12, feedforward_channels=96)),
    predict_attention=False)

_pipeline = _base_.train_dataloader.dataset.pipeline
_view = dict(_pipeline.views.global_1, num_views=1)
_local = dict(
    _view,
    num_views=0,
    crop=dict(type='RandomResizedCrop', size=24, scale=(0.15, 0.45)))
train_dataloader = dict(
    dataset=dict(
        pipeline=dict(
            _delete_=True,
            type='MultiCrop',
            views=dict(global_1=_view, global_2=_view, local=_local),
            after=_pipeline.after)))

# The linear classifier is logistic regression on the gallery's features.
test_evaluator = [
    dict(type='KNNAccuracy', k=(20, )),
    dict(type='LowShotAccuracy', C=(1000., ), prefix='linear')
]

train_cfg = dict(max_epochs=10)
# 150 steps: the teacher lags 20 of them behind, at the quickstart's .98 it
# would be 50.
default_hooks = dict(
    teacher=dict(momentum=0.95), collapse=dict(interval=15, begin=2))
