# Ten more epochs of a trained ViT-S/16, on ImageNet or on images of yours:
#   python tools/train.py configs/continue/dino_vit-s16_continue.py \
#       --checkpoint dino_vit-s16_full.pth
# where that file was made of the authors' full checkpoint by
#   python tools/convert_checkpoint.py \
#       dino_deitsmall16_pretrain_full_checkpoint.pth dino_vit-s16_full.pth \
#       --from official --to mmdino
# k-NN is printed before the first iteration and after the last.
_base_ = [
    '../_base_/models/dino_vit.py',
    '../_base_/datasets/imagenet_10-local.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/hooks/dino.py',
]

model = dict(head=dict(norm_last_layer=False))

train_cfg = dict(max_epochs=10, val_interval=5)

# A tenth of the learning rate; the weight decay stays where it ended.
optim_wrapper = dict(
    optimizer=dict(lr=5e-5, weight_decay=0.4), clip_grad=dict(max_norm=0.3))
param_scheduler = dict(warmup_epochs=1, end_lr=1e-6, end_weight_decay=None)

default_hooks = dict(
    # The teacher moves slowly from the start: the student has less to teach.
    teacher=dict(momentum=0.9995),
    centering=dict(teacher_temp=0.07, warmup_teacher_temp=0.07),
    freeze_last_layer=dict(num_epochs=0),
    validate_first=dict(type='ValidateFirstHook'))
