# 256 images a step, 32 on each of 8 GPUs, without local crops; the learning
# rate follows by itself.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

train_dataloader = dict(
    batch_size=32,
    dataset=dict(pipeline=dict(views=dict(local=dict(num_views=0)))))
