# Revisited Paris, images of 512 px at three scales, as in the authors'
# evaluation on Paris.
_base_ = 'retrieval-rparis.py'

model = dict(features=dict(scales=(1., 1 / 2**0.5, 1 / 2)))
_base_.test_dataloader.dataset.pipeline[1].size = 512
_base_.test_cfg.gallery_dataloader.dataset.pipeline[1].size = 512
