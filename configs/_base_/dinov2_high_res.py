# The end of DINOv2 at high resolution (arXiv 2304.07193, appendix B): some
# 10,000 iterations with the schedules of the first stage, compressed, and a
# lower rate, of which the paper gives no number: a tenth here. A config gives
# warm-ups their share of the 2 epochs.
_base_ = ['datasets/imagenet_dinov2.py', 'schedules/dinov2.py']

# 518 px; local crops keep their share of the side, which is not published.
_global = dict(crop=dict(size=518))
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        pipeline=dict(
            views=dict(
                global_1=_global,
                global_2=_global,
                local=dict(crop=dict(size=224))))))

train_cfg = dict(max_epochs=2, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=4e-4))
