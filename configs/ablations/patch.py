# The size of the patches.


def _cropped(loader):
    """Return a loader whose crops are multiples of patches of 5 px."""

    def pipeline(base):
        steps = loader(base).dataset.pipeline
        if not any(step.get('crop_size') == 224 for step in steps):
            raise KeyError('crop_size=224')
        return [
            dict(step, crop_size=220) if 'crop_size' in step else step
            for step in steps
        ]

    return dict(dataset=dict(pipeline=pipeline))


_global = dict(crop=dict(size=220))

rows = {
    # 224 and 96 px are no multiples of 5: crops of 220 and 95 px have as many
    # whole patches.
    'patch-5':
    dict(
        title='Patches of 5 px',
        model=dict(backbone=dict(patch_size=5, img_size=220)),
        train_dataloader=dict(
            dataset=dict(
                pipeline=dict(
                    views=dict(
                        global_1=_global,
                        global_2=_global,
                        local=dict(crop=dict(size=95)))))),
        val_dataloader=_cropped(lambda base: base.val_dataloader),
        val_cfg=dict(
            gallery_dataloader=_cropped(
                lambda base: base.val_cfg.gallery_dataloader)),
        test_dataloader=_cropped(lambda base: base.test_dataloader),
        test_cfg=dict(
            gallery_dataloader=_cropped(
                lambda base: base.test_cfg.gallery_dataloader))),
    'patch-8':
    dict(
        title='Patches of 8 px, 784 in a global crop',
        model=dict(backbone=dict(patch_size=8))),
    'patch-16':
    dict(
        title="Patches of 16 px, the paper's",
        model=dict(backbone=dict(patch_size=16))),
}
