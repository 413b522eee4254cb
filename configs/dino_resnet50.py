# ResNet-50 as released, 800 epochs of LARS. Published: k-NN 67.5,
# linear 75.3. 80 GPUs x 51 images = 4080.
_base_ = [
    '_base_/models/dino_resnet50.py',
    '_base_/datasets/imagenet_multi_crop.py',
    '_base_/schedules/adamw_100e.py',
    '_base_/hooks/dino.py',
]

model = dict(head=dict(out_dim=60000, hidden_channels=4096, use_bn=True))
train_dataloader = dict(
    batch_size=51,
    dataset=dict(
        pipeline=dict(
            views=dict(
                global_1=dict(crop=dict(scale=(0.14, 1.0))),
                global_2=dict(crop=dict(scale=(0.14, 1.0))),
                local=dict(crop=dict(scale=(0.05, 0.14)))))))

train_cfg = dict(max_epochs=800)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='LARS', lr=0.3, weight_decay=1e-6))
param_scheduler = dict(end_weight_decay=None)
