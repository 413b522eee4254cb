# DINO with a very small ViT, for two CPU cores and pictures of 48 px.
_base_ = 'dino_vit.py'

model = dict(
    backbone=dict(
        # Three wider heads soon look at a few patches of the object only.
        arch=dict(
            _delete_=True,
            embed_dims=96,
            num_layers=2,
            num_heads=6,
            feedforward_channels=192),
        img_size=48,
        # 6 x 6 patches; patches of 4 px would be four times as many tokens.
        patch_size=8,
        # Its BatchNorm spreads the features of the pictures from the start.
        stem=dict(type='ConvStem'),
        drop_path_rate=0.),
    head=dict(
        out_dim=256,
        hidden_channels=256,
        # The logits of a random head have a standard deviation of
        # 32 ** -0.5: with 256 they would be too flat to ever leave uniform.
        bottleneck_channels=32,
        use_bn=True),
    predict_attention=True)
