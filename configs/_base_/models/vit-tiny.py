# A very small ViT, for two CPU cores and pictures of 48 px.
_vit_tiny = dict(
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
    stem=dict(type='ConvStem'))
