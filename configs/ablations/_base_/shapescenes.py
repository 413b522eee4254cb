# ShapeScenes for CPUs, two minutes for each row on a free core: the quickstart
# with half the images and half the width of the network, with centring and
# many heads, two named global views, and local views that a row can switch on;
# all ten classes.
#   python tools/ablate.py TABLE --base shapescenes
_base_ = '../../quickstart/dino_vit-tiny_shapescenes.py'

model = dict(
    data_preprocessor=dict(channels_last=False),
    backbone=dict(
        arch=dict(embed_dims=48, num_heads=12, feedforward_channels=96)),
    centering=dict(_delete_=True, type='MeanCentering', momentum=0.9),
    predict_attention=False)

_pipeline = _base_.train_dataloader.dataset.pipeline
_view = dict(_pipeline.views.global_1, num_views=1)
_local = dict(
    _view,
    num_views=0,
    crop=dict(type='RandomResizedCrop', size=24, scale=(0.15, 0.45)))
train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        num_images=1000,
        classes=None,
        pipeline=dict(
            _delete_=True,
            type='MultiCrop',
            views=dict(global_1=_view, global_2=_view, local=_local),
            after=_pipeline.after)))

_all = dict(dataset=dict(classes=None))
val_dataloader = _all
val_cfg = dict(gallery_dataloader=_all)
test_dataloader = _all
test_cfg = dict(
    gallery_dataloader=dict(dataset=dict(num_images=1000, classes=None)))
test_evaluator = [
    dict(type='KNNAccuracy', k=(20, )),
    # Logistic regression on all labels takes seconds, SGD would take minutes.
    dict(type='LowShotAccuracy', C=(100., ))
]

train_cfg = dict(max_epochs=30, val_interval=8)

# 1e-3 at a batch of 64, and less weight decay than the recipes, since there
# are only 450 steps.
optim_wrapper = dict(optimizer=dict(lr=4e-3, weight_decay=0.1))
param_scheduler = dict(end_weight_decay=1.)
default_hooks = dict(
    teacher=dict(momentum=0.98),
    centering=dict(teacher_temp=0.03, warmup_teacher_temp=0.03),
    logger=dict(interval=5),
    checkpoint=dict(interval=8),
    collapse=dict(interval=15, begin=4))
