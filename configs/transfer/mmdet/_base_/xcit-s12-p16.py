# A DINO XCiT-S12/16 for detectors: the teacher's weights, all or an error. Of
# its 12 blocks four are taken, as the authors of XCiT do.
custom_imports = dict(
    imports=['mmdino.models', 'mmdino.engine', 'mmdino.transfer.detection'],
    allow_failed_imports=False)

dino_backbone = dict(
    _delete_=True,
    type='mmdino.TimmFeatureMaps',
    model_name='xcit_small_12_p16_224',
    out_indices=(3, 5, 7, 11),
    drop_path_rate=0.1,
    init_cfg=dict(
        type='Pretrained', checkpoint=None, prefix='teacher.backbone.'))
