# For a frozen backbone: AdamW, 40,000 iterations.
_base_ = 'mmseg::_base_/schedules/schedule_40k.py'

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, end=1500),
    dict(
        type='PolyLR',
        power=1.0,
        eta_min=0.0,
        begin=1500,
        end=40000,
        by_epoch=False)
]

# 16 images, whatever the number of GPUs and images on each
auto_scale_lr = dict(enable=True, base_batch_size=16)
