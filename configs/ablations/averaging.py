# The moving average of the student, with Sinkhorn-Knopp against collapse.
_guard = dict(centering=dict(_delete_=True, type='SinkhornKnopp', num_iters=3))
_copy = dict(
    teacher=dict(_delete_=True, type='TeacherCopyHook', when='after_step'))

rows = {
    'none':
    dict(
        title='No average: the teacher is a copy of the student',
        model=_guard,
        default_hooks=_copy),
    # Trained as in the row `none`; the average of the student is saved and
    # evaluated as the teacher.
    'polyak':
    dict(
        title='Polyak average of the student, which guides nothing',
        model=_guard,
        default_hooks=_copy,
        custom_hooks=[
            dict(
                type='EMAHook',
                momentum=lambda base: 1 - base.default_hooks.teacher.momentum)
        ]),
    'teacher':
    dict(
        title='The average guides the student: momentum teacher',
        model=_guard),
}
