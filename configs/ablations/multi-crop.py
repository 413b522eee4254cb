# The number of local crops in addition to the two global ones. The recipe that
# is tuned for no local crops is configs/dino_vit-s16_no-multi-crop.py.


def _local(title, crops):
    return dict(
        title=title,
        train_dataloader=dict(
            dataset=dict(
                pipeline=dict(views=dict(local=dict(num_views=crops))))))


rows = {
    'local-0': _local('The two global crops alone', 0),
    'local-2': _local('Two global and 2 local crops', 2),
    'local-6': _local('Two global and 6 local crops', 6),
    'local-8': _local("Two global and 8 local crops, the paper's", 8),
    'local-10': _local('Two global and 10 local crops', 10),
}
