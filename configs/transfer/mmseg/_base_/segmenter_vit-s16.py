# Segmenter: class tokens attend to the patches in a decoder of two blocks.
_base_ = 'vit-s16.py'

model = dict(
    backbone=dict(drop_path_rate=0.1),
    decode_head=dict(
        type='SegmenterMaskTransformerHead',
        in_channels=384,
        channels=384,
        embed_dims=384,
        num_heads=6,
        num_layers=2,
        num_classes=150,
        dropout_ratio=0.0,
        loss_decode=dict(type='CrossEntropyLoss')))
