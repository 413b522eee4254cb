# COCO with masks, 100 epochs of large-scale jitter at 1024 px.
_base_ = ['mmdet::common/lsj-100e_coco-instance.py', 'adamw.py']

optim_wrapper = _base_.dino_optim_wrapper
auto_scale_lr = dict(enable=True)
randomness = dict(seed=0)
