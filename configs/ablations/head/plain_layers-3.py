# 3 linear layers, the last the prototypes, without the bottleneck and its L2
# normalisation.
_base_ = './plain_layers-4.py'

model = dict(head=dict(num_layers=3))
