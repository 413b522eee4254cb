# Methods against collapse if the teacher is a copy of the student.


def _guard(title, **centering):
    return dict(
        title=f'{title}, the teacher a copy of the student',
        model=dict(centering=centering),
        default_hooks=dict(
            teacher=dict(
                _delete_=True, type='TeacherCopyHook', when='after_step')))


rows = {
    'batch-softmax':
    _guard(
        'Softmax over the batch',
        _delete_=True,
        type='SinkhornKnopp',
        num_iters=1),
    'centering':
    _guard('Centring', type='MeanCentering', momentum=0.9),
    'sinkhorn-knopp':
    _guard('Sinkhorn-Knopp', _delete_=True, type='SinkhornKnopp', num_iters=3),
}
