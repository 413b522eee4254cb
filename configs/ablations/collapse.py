# Centring and sharpening, only one of them, or neither (figure 7).
_uncentered = dict(centering=dict(_delete_=True, type='NoCentering'))
# Without sharpening, the teacher's temperature equals the student's.
_unsharpened = dict(
    centering=dict(teacher_temp=0.1, warmup_teacher_temp=0.1, warmup_epochs=0))

rows = {
    'both':
    dict(
        title="Centring and sharpening, the paper's choice",
        model=dict(centering=dict(type='MeanCentering', momentum=0.9))),
    'centering-only':
    dict(title='Centring alone', default_hooks=_unsharpened),
    'none':
    dict(
        title='Neither centring nor sharpening',
        model=_uncentered,
        default_hooks=_unsharpened),
    'sharpening-only':
    dict(title='Sharpening alone', model=_uncentered),
}
