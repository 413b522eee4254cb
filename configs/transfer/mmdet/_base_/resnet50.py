# A DINO ResNet-50 for detectors: the teacher's weights, all or an error. All
# stages are trained, their BatchNorm too, by images of all GPUs: the
# statistics of pretraining are those of its crops.
custom_imports = dict(
    imports=['mmdino.models', 'mmdino.engine', 'mmdino.transfer.detection'],
    allow_failed_imports=False)

dino_backbone = dict(
    _delete_=True,
    type='mmdino.ResNet',
    depth=50,
    out_indices=(0, 1, 2, 3),
    norm_cfg=dict(type='SyncBN', requires_grad=True),
    norm_eval=False,
    init_cfg=dict(
        type='Pretrained', checkpoint=None, prefix='teacher.backbone.'))
