# DeepSpeed's engine without ZeRO, which would flatten the parameters that DINO
# clips one by one; to spread them over the GPUs take '_base_/fsdp.py'. Add
# '_base_/deepspeed.py' to a config's _base_ list, pip install 'deepspeed<0.18'
# (MMEngine does not know the layout of later ones).
runner_type = 'FlexibleRunner'
strategy = dict(
    type='mmdino.DeepSpeedStrategy',
    sync_bn='torch',
    gradient_accumulation_steps=1)
