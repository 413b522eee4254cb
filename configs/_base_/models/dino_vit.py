# DINO with a ViT-S/16. backbone and head are the student's; the teacher is a
# copy of them. out_dim is the number of prototypes K; the widths and the
# number of views are inferred.
model = dict(
    type='DINO',
    data_preprocessor=dict(
        type='MultiViewDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        non_blocking=True),
    backbone=dict(
        type='VisionTransformer',
        arch='deit-small',
        patch_size=16,
        img_size=224,
        drop_path_rate=0.1),
    head=dict(
        type='DINOHead',
        out_dim=65536,
        hidden_channels=2048,
        bottleneck_channels=256,
        num_layers=3,
        use_bn=False,
        norm_last_layer=True),
    centering=dict(type='MeanCentering', momentum=0.9),
    loss=dict(type='DINOLoss', student_temp=0.1))
