# Revisited Oxford by the benchmark's own protocol, which crops the queries to
# the object asked about. The authors of DINO embed the whole images.
_base_ = 'retrieval-roxford.py'

test_dataloader = dict(
    dataset=dict(pipeline=[
        _base_._load,
        dict(type='CropToBox'), _base_._shrink,
        dict(type='mmpretrain.PackInputs', algorithm_keys=('annotation', ))
    ]))
