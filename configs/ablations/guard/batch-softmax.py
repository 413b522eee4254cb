# Softmax over the images of all ranks: one iteration of Sinkhorn-Knopp.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(centering=dict(_delete_=True, type='SinkhornKnopp', num_iters=1))
