# The batch size, on 8 GPUs, without local crops. The learning rate is scaled
# automatically.


def _batch(images):
    return dict(
        title=f'{images} images a step, {images // 8} on each of 8 GPUs',
        train_dataloader=dict(
            batch_size=images // 8,
            dataset=dict(pipeline=dict(views=dict(local=dict(num_views=0))))))


rows = {f'batch-{images}': _batch(images) for images in (128, 256, 512, 1024)}
