# ResNet-50 as released, 800 epochs of LARS. Published: k-NN 67.5,
# linear 75.3. 80 GPUs x 51 images = 4080.
_base_ = 'dino_resnet50_100e.py'

model = dict(head=dict(out_dim=60000, hidden_channels=4096, use_bn=True))
train_dataloader = dict(batch_size=51)

train_cfg = dict(max_epochs=800)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='LARS', lr=0.3, weight_decay=1e-6))
