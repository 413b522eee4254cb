# As discovery-voc07, on PASCAL VOC 2012 trainval.
_base_ = 'discovery-voc07.py'

data_root = 'data/VOCdevkit/VOC2012'
