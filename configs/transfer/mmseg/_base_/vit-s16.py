# A segmentor on a DINO ViT-S/16: the teacher's weights, all or an error. The
# head is the including config's.
custom_imports = dict(
    imports=[
        'mmdino.models', 'mmdino.datasets', 'mmdino.engine',
        'mmdino.transfer.segmentation'
    ],
    allow_failed_imports=False)

model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
        # images of any size become whole patches, the rest is cut off again
        test_cfg=dict(size_divisor=16)),
    backbone=dict(
        type='mmdino.VisionTransformer',
        arch='deit-small',
        patch_size=16,
        img_size=512,
        out_type='featmap',
        init_cfg=dict(
            type='Pretrained', checkpoint=None, prefix='teacher.backbone.')),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)))
