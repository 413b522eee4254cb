# A predictor on the student's bottleneck, as in BYOL.
rows = {
    'mlp':
    dict(
        title='A predictor of two layers',
        model=dict(
            predictor=dict(
                type='Predictor',
                hidden_channels=lambda base: base.model.head.hidden_channels))
    ),
    'none':
    dict(title="No predictor, the paper's choice", model=dict(predictor=None)),
}
