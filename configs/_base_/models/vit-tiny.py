# A very small ViT, for two CPU cores and images of 48 px.
_vit_tiny = dict(
    # With three wider heads, attention soon narrows to a few patches.
    arch=dict(
        _delete_=True,
        embed_dims=96,
        num_layers=2,
        num_heads=6,
        feedforward_channels=192),
    img_size=48,
    # 6 x 6 patches; with patches of 4 px there would be four times as many.
    patch_size=8,
    # Its BatchNorm spreads the features of the images from the start.
    stem=dict(type='ConvStem'))
