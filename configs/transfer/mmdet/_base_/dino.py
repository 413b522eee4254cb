# Settings that detectors on DINO's backbones share, and the backbones by name.
# A config puts one of them into the model that it inherits from mmdet.
custom_imports = dict(
    imports=[
        'mmdino.models', 'mmdino.engine', 'mmdino.transfer.classes',
        'mmdino.transfer.detection'
    ],
    allow_failed_imports=False)
custom_hooks = [dict(type='mmdino.NumClassesHook')]
randomness = dict(seed=0)

# Loads all of the teacher's weights, or raises an error.
_teacher = dict(type='Pretrained', checkpoint=None, prefix='teacher.backbone.')

# All stages are trained. BatchNorm is trained as well, with the statistics of
# all GPUs, because those of pretraining are statistics of its crops.
_resnet50 = dict(
    _delete_=True,
    type='mmdino.ResNet',
    depth=50,
    out_indices=(0, 1, 2, 3),
    norm_cfg=dict(type='SyncBN', requires_grad=True),
    norm_eval=False,
    init_cfg=_teacher)

# Position embeddings stay those of 224 px and are resized in every forward
# pass, as in pretraining.
_vit_s16 = dict(
    _delete_=True,
    type='mmdino.VisionTransformer',
    arch='deit-small',
    patch_size=16,
    img_size=224,
    out_type='featmap',
    drop_path_rate=0.1,
    init_cfg=_teacher)
# A simple feature pyramid on the last map; a config adds the scales.
_vit_s16_pyramid = dict(
    _delete_=True,
    type='mmdino.SimpleFeaturePyramid',
    embed_dim=384,
    out_channels=256,
    num_outs=5)
# Layer-wise decay of the learning rate, which is for a batch of 64 images over
# all GPUs.
_vit_optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='mmdino.BackboneLayerDecayConstructor',
    optimizer=dict(
        type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.1),
    paramwise_cfg=dict(
        layer_decay_rate=0.7,
        bias_decay_mult=0.,
        flat_decay_mult=0.,
        custom_keys={
            '.cls_token': dict(decay_mult=0.),
            '.pos_embed': dict(decay_mult=0.),
            '.register_tokens': dict(decay_mult=0.),
            '.mask_token': dict(decay_mult=0.)
        }))

# Maps of four blocks, rescaled to strides 4 to 32, then FPN. The layers of
# class attention get no gradient, so a config has to set
# find_unused_parameters.
_xcit_s12_p16 = dict(
    _delete_=True,
    type='mmdino.TimmFeatureMaps',
    model_name='xcit_small_12_p16_224',
    out_indices=(3, 5, 7, 11),
    drop_path_rate=0.1,
    init_cfg=_teacher)
_xcit_s12_p16_maps = dict(
    type='mmdino.RescaledMaps', embed_dim=384, scales=(4, 2, 1, 0.5))
_xcit_s12_p16_fpn = dict(
    type='FPN', in_channels=[96, 192, 384, 384], out_channels=256, num_outs=5)
# AdamW, as the authors of XCiT train detectors.
_xcit_optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(
        type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.))
