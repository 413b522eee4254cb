# Areas of global crops from 8% on, of local crops up to 8%.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

train_dataloader = dict(
    dataset=dict(
        pipeline=dict(
            views=dict(
                global_1=dict(crop=dict(scale=(0.08, 1.0))),
                global_2=dict(crop=dict(scale=(0.08, 1.0))),
                local=dict(crop=dict(scale=(0.05, 0.08)))))))
