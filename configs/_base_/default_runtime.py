# Settings that every training and test shares. To use tensorboard.py,
# teacher_snapshots.py or fsdp.py of this folder, add it to _base_ of a config.
default_scope = 'mmdino'

default_hooks = dict(
    runtime_info=dict(type='LateRuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='SafeCheckpointHook', interval=1, max_keep_ckpts=3),
    network=dict(type='NetworkHook'),
    resume=dict(type='ResumeHook'),
    nonfinite=dict(type='NonFiniteHook', action='stop'),
    unreadable=dict(type='UnreadableImagesHook'),
    log_history=dict(type='LogHistoryHook'),
    preemption=dict(type='PreemptionHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    weight_decay=dict(type='WeightDecayLogHook'))

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))

# GPUs multiply float32 matrices in TF32, with a mantissa of 10 bits, as the
# authors' version of torch did. False uses full float32, which is several
# times slower.
tf32 = True

# BatchNorm of student and teacher uses the statistics of all GPUs.
sync_bn = 'torch'

log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0)
