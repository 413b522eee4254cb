# Weights, gradients and moments spread over the GPUs, for networks that do not
# fit on one: add '_base_/fsdp.py' to a config's _base_ list. Checkpoints are
# those of DDP, one file each.
runner_type = 'FlexibleRunner'
strategy = dict(type='mmdino.FSDPStrategy', sync_bn='torch')
