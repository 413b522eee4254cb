# The end of DINOv2 at high resolution (arXiv 2304.07193, appendix B): some
# 10,000 iterations with the schedules of the first stage, compressed, and a
# lower rate, of which the paper gives no number: a tenth here. A config gives
# warm-ups their share of the 2 epochs.
_base_ = 'dinov2.py'

train_cfg = dict(max_epochs=2, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=4e-4))
