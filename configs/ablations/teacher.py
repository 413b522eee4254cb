# How the teacher is made from the student.


def _copy(title, when):
    return dict(
        title=title,
        default_hooks=dict(
            teacher=dict(_delete_=True, type='TeacherCopyHook', when=when)))


rows = {
    'momentum':
    dict(
        title="Momentum teacher, the paper's choice",
        default_hooks=dict(teacher=dict(type='TeacherEMAHook'))),
    'previous-epoch':
    _copy('The student of the epoch before', 'after_epoch'),
    'previous-iteration':
    _copy('The student one step ago', 'before_step'),
    'student-copy':
    _copy('The student itself, without gradient', 'after_step'),
}
