# FSDP: weights, gradients and the optimizer's state are sharded over the GPUs,
# for networks that do not fit on one. Add '_base_/fsdp.py' to the _base_ list
# of a config. Checkpoints are the same as with DDP, a single file each.
runner_type = 'FlexibleRunner'
strategy = dict(type='mmdino.FSDPStrategy', sync_bn='torch')
