# Revisited Oxford, images of 512 px at three scales.
_base_ = 'retrieval-roxford.py'

model = dict(features=dict(scales=(1., 1 / 2**0.5, 1 / 2)))
_base_.test_dataloader.dataset.pipeline[1].size = 512
_base_.test_cfg.gallery_dataloader.dataset.pipeline[1].size = 512
