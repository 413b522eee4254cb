# The teacher's temperature, and the temperature at which its warm-up starts.


def _temperature(title, last, first=None, epochs=0):
    return dict(
        title=title,
        default_hooks=dict(
            centering=dict(
                teacher_temp=last,
                warmup_teacher_temp=last if first is None else first,
                warmup_epochs=epochs)))


rows = {
    'temp-0':
    _temperature('A temperature of 0: the target is the largest logit', 1e-6),
    'temp-0.02':
    _temperature('A teacher temperature of 0.02', .02),
    'temp-0.04':
    _temperature("A teacher temperature of 0.04, the paper's", .04),
    'temp-0.04-to-0.07':
    _temperature('A temperature of 0.04 that rises to 0.07 over 30 epochs',
                 .07, .04, 30),
    'temp-0.06':
    _temperature('A teacher temperature of 0.06', .06),
    'temp-0.08':
    _temperature('A teacher temperature of 0.08', .08),
}
