# Ten more epochs of a trained ViT-S/16, on ImageNet or on images of yours:
#   python tools/train.py configs/continue/dino_vit-s16_continue.py \
#       --cfg-options load_from=dino_vit-s16_full.pth
# where load_from was made of the authors' full checkpoint by
#   python tools/convert_checkpoint.py \
#       dino_deitsmall16_pretrain_full_checkpoint.pth dino_vit-s16_full.pth \
#       --from official --to mmdino
# k-NN is printed before the first iteration and after the last.
_base_ = '../dino_vit-s16_800e.py'

train_cfg = dict(max_epochs=10, val_interval=5)

# A tenth of the learning rate; the weight decay stays where it ended.
optim_wrapper = dict(
    optimizer=dict(lr=5e-5, weight_decay=0.4),
    clip_grad=dict(_delete_=True, max_norm=0.3))
param_scheduler = _base_.param_scheduler[:2]
_base_.param_scheduler[0].end = 1
_base_.param_scheduler[1].begin = 1
_base_.param_scheduler[1].eta_min = 1e-6

default_hooks = dict(
    # The teacher moves slowly from the start: the student has less to teach.
    teacher=dict(momentum=0.9995),
    centering=dict(warmup_teacher_temp=0.07, warmup_epochs=0),
    freeze_last_layer=dict(num_epochs=0),
    validate_first=dict(type='ValidateFirstHook'))
