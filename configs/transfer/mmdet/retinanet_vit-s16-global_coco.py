# RetinaNet on a ViT-S/16 whose blocks all attend to the whole image, COCO: a
# simple pyramid of strides 8 to 128 on the last map, 100 epochs of large-scale
# jitter at 1024 px, as ViTDet does.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    'mmdet::common/lsj-100e_coco-detection.py'
]
custom_imports = dict(
    imports=[
        'mmdino.models', 'mmdino.engine', 'mmdino.transfer.classes',
        'mmdino.transfer.detection'
    ],
    allow_failed_imports=False)

model = dict(
    # The teacher's weights, all or an error. Position embeddings stay those
    # of 224 px and are resized in every forward pass as in pretraining.
    backbone=dict(
        _delete_=True,
        type='mmdino.VisionTransformer',
        arch='deit-small',
        patch_size=16,
        img_size=224,
        out_type='featmap',
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained', checkpoint=None, prefix='teacher.backbone.')),
    neck=dict(
        _delete_=True,
        type='mmdino.SimpleFeaturePyramid',
        embed_dim=384,
        scales=(2, 1, 0.5),
        out_channels=256,
        num_outs=5))

# Each block has a learning rate below the next one's. The rate is that of 64
# images, whatever the number of GPUs and images on each.
optim_wrapper = dict(
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
auto_scale_lr = dict(enable=True)

custom_hooks = [dict(type='mmdino.NumClassesHook')]
randomness = dict(seed=0)
