# What moves beside the student in DINOv2: temperature by iteration, last
# layers at rate 0 for 1,250 iterations. Epochs are those of 1,024 images a
# step on ImageNet-1k, 1,251 iterations.
_base_ = 'dino.py'

default_hooks = dict(
    scale_lr=dict(type='ScaleLRHook', base_batch_size=1024, rule='sqrt'),
    teacher=dict(momentum=0.992),
    centering=dict(
        teacher_temp=0.07,
        warmup_teacher_temp=0.04,
        warmup_epochs=30,  # 37,500 iterations
        by_epoch=False),
    freeze_last_layer=dict(num_epochs=1, by_rate=True))
