# Revisited Oxford by the benchmark's own protocol, which crops queries to the
# object that is searched for. The authors of DINO use whole images.
_base_ = 'retrieval-roxford.py'

test_dataloader = dict(
    dataset=dict(pipeline=[
        _base_._load,
        dict(type='CropToBox'), _base_._shrink,
        dict(type='mmpretrain.PackInputs', algorithm_keys=('annotation', ))
    ]))
