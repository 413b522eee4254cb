# What every training and test runs with. A config of yours adds to its _base_
# tensorboard.py, teacher_snapshots.py or fsdp.py beside this file.
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

# GPUs multiply float32 matrices in TF32, with 10 bits of the mantissa, as the
# authors' torch did. False: in full float32, several times slower.
tf32 = True

# Student and teacher normalise over all GPUs where they have BatchNorm.
sync_bn = 'torch'

log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0)
