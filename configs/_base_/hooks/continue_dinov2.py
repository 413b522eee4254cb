# From a trained backbone and new heads: the backbone waits for them, and the
# teacher moves slowly. k-NN before, on the way and after ends up in a table.
_base_ = 'dinov2.py'

default_hooks = dict(
    teacher=dict(momentum=0.999),
    centering=dict(warmup_epochs=5),
    freeze_last_layer=dict(num_epochs=0),
    # Shares of the training.
    freeze_backbone=dict(
        type='FreezeBackboneHook', num_iters=0.1, warmup_iters=0.05),
    # stop_below=1. ends a training that has lost a point of k-NN.
    validate_first=dict(type='ValidateFirstHook', needs_start=True))
