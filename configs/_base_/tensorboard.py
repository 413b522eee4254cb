# Logs also go to TensorBoard: pip install 'mmdino[tensorboard]'.
visualizer = dict(
    type='Visualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
        dict(type='TensorboardVisBackend')
    ])
