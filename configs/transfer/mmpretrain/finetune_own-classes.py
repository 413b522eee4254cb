# Fine-tune a ViT on classes of your own. Copy this file and change the three
# lines below; the data are
#   DATA/{train,val}/CLASS/NAME.jpg    any number of classes, the same in both
# The batch is 96 images a process, fewer than the training set has; the
# learning rate is that of 768 images and scaled to the batch.
_data_root = 'data/my_folders'
_num_classes = 3
_epochs = 1000  # the authors' for CIFAR-10; 300 on ImageNet, with lr 5e-4

_base_ = '_base_/finetune.py'

model = dict(head=dict(num_classes=_num_classes))

train_dataloader = dict(
    dataset=dict(
        type='Images',
        data_root=_data_root,
        subset='train',
        with_label=True,
        pipeline=[dict(type='LoadImage'), *_base_._train_steps]))
val_dataloader = dict(
    dataset=dict(
        type='Images',
        data_root=_data_root,
        subset='val',
        with_label=True,
        pipeline=[dict(type='LoadImage'), *_base_._test_steps]))
test_dataloader = dict(dataset=val_dataloader['dataset'])
val_evaluator = dict(topk=(1, ))
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=_epochs)
