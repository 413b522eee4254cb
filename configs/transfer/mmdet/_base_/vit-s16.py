# A DINO ViT-S/16 for detectors: the teacher's weights, all or an error.
# Position embeddings stay those of 224 px and are resized in every forward
# pass as in pretraining, for images of all sizes.
custom_imports = dict(
    imports=['mmdino.models', 'mmdino.engine', 'mmdino.transfer.detection'],
    allow_failed_imports=False)

dino_backbone = dict(
    _delete_=True,
    type='mmdino.VisionTransformer',
    arch='deit-small',
    patch_size=16,
    img_size=224,
    out_type='featmap',
    drop_path_rate=0.1,
    init_cfg=dict(
        type='Pretrained', checkpoint=None, prefix='teacher.backbone.'))
