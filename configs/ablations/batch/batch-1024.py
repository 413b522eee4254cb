# 1024 images a step, 128 on each of 8 GPUs, without local crops; the learning
# rate follows by itself.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

train_dataloader = dict(
    batch_size=128,
    dataset=dict(pipeline=dict(views=dict(local=dict(num_views=0)))))
