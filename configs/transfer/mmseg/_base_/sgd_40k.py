# To fine-tune a ResNet, as mmseg does: SGD, 40,000 iterations.
_base_ = 'mmseg::_base_/schedules/schedule_40k.py'

# 16 images, whatever the number of GPUs and images on each
auto_scale_lr = dict(enable=True, base_batch_size=16)
