# How student and teacher are compared.
rows = {
    'cross-entropy':
    dict(
        title="Cross-entropy, the paper's choice",
        model=dict(loss=dict(type='DINOLoss'))),
    'info-nce':
    dict(
        title='Contrast with the other images of all ranks',
        model=dict(loss=dict(type='InfoNCELoss'))),
    'mse':
    dict(
        title='Squared distance between the two distributions',
        model=dict(loss=dict(type='MSELoss'))),
}
