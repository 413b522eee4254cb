# The quickstart's network on ShapeScenes, for minutes on CPU cores: its two
# global views by their names, and local ones to switch on. python
# tools/ablate.py --base shapescenes takes it.
_base_ = '../../quickstart/dino_vit-tiny_shapescenes.py'

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

train_cfg = dict(max_epochs=12)
