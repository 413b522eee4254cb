# A student with random weights learns from a frozen network, here DINOv2's
# ViT-S/14. Another frozen network:
#   --cfg-options model.frozen.checkpoint=FILE_OR_NAME
# The student's backbone is set in the config that inherits this file.
_base_ = ['schedules/adamw_100e.py', 'default_runtime.py']

model = dict(
    type='Distillation',
    data_preprocessor=dict(
        type='MultiViewDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        non_blocking=True),
    frozen=dict(type='FrozenTeacher', checkpoint='dinov2_vit-s14'),
    class_weight=1.,
    patch_weight=1.)

param_scheduler = dict(warmup_epochs=5, end_weight_decay=None)
# The moving average of the student is what is tested and exported.
default_hooks = dict(teacher=dict(type='TeacherEMAHook', momentum=0.996))
