# Revisited Paris, images of 224 px and one scale.
_base_ = 'retrieval-roxford.py'

folder = 'data/revisitop/rparis6k'
test_dataloader = dict(dataset=dict(data_root=folder))
test_cfg = dict(gallery_dataloader=dict(dataset=dict(data_root=folder)))
