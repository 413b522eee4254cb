# DINO with a very small ViT.
_base_ = ['dino_vit.py', 'vit-tiny.py']

model = dict(
    backbone=dict(_base_._vit_tiny, drop_path_rate=0.),
    head=dict(
        out_dim=256,
        hidden_channels=256,
        # The logits of a random head have a standard deviation of
        # bottleneck_channels ** -0.5. With the usual 256 channels they would
        # be so small that training stays at the uniform output.
        bottleneck_channels=32,
        use_bn=True),
    predict_attention=True)
