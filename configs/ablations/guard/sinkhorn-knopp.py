# Sinkhorn-Knopp with 3 iterations, over the images of all ranks.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(centering=dict(_delete_=True, type='SinkhornKnopp', num_iters=3))
