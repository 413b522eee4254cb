# How a very small ViT learns ShapeScenes, 48 px: two views of 2,000 pictures,
# k-NN and attention on 1,000 others.
# Two global views and no local ones: a 24 px crop of these pictures often
# shows background only, and the runs with two or four of them ended uniform.
_base_ = [
    '../../_base_/datasets/loaders.py',
    '../../_base_/schedules/adamw_100e.py',
    '../../_base_/hooks/dino.py',
]

train_dataloader = dict(
    dataset=dict(
        type='ShapeScenes',
        num_images=2000,
        split='train',
        pipeline=dict(
            views=dict(
                global_1=dict(
                    crop=dict(size=48, scale=(0.45, 1.0)),
                    pipeline=[
                        dict(type='HorizontalFlip', prob=0.5),
                        # Hue and light-dark order would tell pictures apart:
                        # any hue, and half of the views inverted.
                        dict(
                            type='ColorJitter',
                            brightness=0.2,
                            contrast=0.2,
                            saturation=0.2,
                            hue=0.5,
                            prob=0.8),
                        dict(type='RandomGrayscale', prob=0.3),
                        dict(type='Solarize', prob=0.5, threshold=0),
                    ])))))

_test_pipeline = [
    # Crops of the area (.45, 1.) enlarge the objects: pictures at 64 px show
    # them at the size that the network knows.
    dict(
        type='Resize', scale=(64, 64), backend='cv2', interpolation='bicubic'),
    dict(type='mmpretrain.PackInputs', algorithm_keys=('gt_mask', ))
]

# 1,000 queries; the gallery is the training set, not augmented. The numbers
# of the quickstart's recipe were chosen on the split 'val', it reports 'test'.
_scenes = dict(type='ShapeScenes', num_images=1000, pipeline=_test_pipeline)

val_dataloader = dict(dataset=dict(_scenes, split='val'))
val_cfg = dict(
    gallery_dataloader=dict(
        dataset=dict(_scenes, num_images=2000, split='train')))
val_evaluator = [
    dict(type='KNNAccuracy', k=(20, )),
    dict(type='AttentionJaccard')
]
test_dataloader = dict(dataset=dict(split='test'))

train_cfg = dict(max_epochs=60, val_interval=10)
# 2e-3 at a batch of 128; 900 steps are too few for the recipes' 2.5e-4. The
# weight decay, from 3 to 15, keeps the attention from narrowing to a few
# patches; more of it stops the features from learning. Over so few steps it
# is milder than the recipes' to 0.4.
optim_wrapper = dict(optimizer=dict(lr=4e-3, weight_decay=3.))
param_scheduler = dict(warmup_epochs=1, end_weight_decay=15.)
default_hooks = dict(
    # 15 steps an epoch: with 0.996 the teacher would lag 16 epochs behind.
    teacher=dict(momentum=0.98),
    # Sharper than 0.04: Sinkhorn-Knopp evens the targets out.
    centering=dict(teacher_temp=0.02, warmup_teacher_temp=0.02),
    logger=dict(interval=15),
    checkpoint=dict(interval=10, max_keep_ckpts=1))
