# The high-resolution stage at the end of DINOv2 (arXiv 2304.07193, appendix
# B): about 10,000 iterations with the schedules of the first stage,
# compressed. The learning rate is lower; the paper gives no number, here it is
# a tenth. Configs that inherit this file set warm-ups to the same share of the
# 2 epochs as in the first stage.
_base_ = ['datasets/imagenet_dinov2.py', 'schedules/dinov2.py']

# Global crops of 518 px. The size of local crops is not published; they keep
# their ratio to the global ones.
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
