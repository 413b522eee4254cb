# Mask R-CNN on a ViT-S/16, COCO: a simple pyramid of strides 4 to 64 on the
# last map, 100 epochs of large-scale jitter at 1024 px, as ViTDet does. Eight
# of the twelve blocks attend within windows: at 1024 px their attention costs
# a twenty-fifth of the others'.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::common/lsj-100e_coco-instance.py'
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
        type='mmdino.WindowedVisionTransformer',
        arch='deit-small',
        patch_size=16,
        img_size=224,
        out_type='featmap',
        window_size=14,
        global_blocks=(2, 5, 8, 11),
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained', checkpoint=None, prefix='teacher.backbone.')),
    neck=dict(
        _delete_=True,
        type='mmdino.SimpleFeaturePyramid',
        embed_dim=384,
        scales=(4, 2, 1, 0.5),
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
