# Revisited Paris, images of 224 px and one scale.
_base_ = 'retrieval-roxford.py'

data_root = 'data/revisitop/rparis6k'
