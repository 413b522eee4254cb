"""Segmentation by frozen patch features: k-NN and a linear layer.

Letters: P patches of the gallery, D features, C classes, (h, w) the patch
grid, (H, W) pixels.
"""
from typing import NamedTuple

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.runner import TestLoop, autocast
from torch import Tensor
from torch.utils.data import DataLoader

from mmdino.functional.finite import require_finite
from mmdino.functional.segmentation import (confusion, knn_scores,
                                            patch_labels, pixel_classes,
                                            ridge_classifier,
                                            segmentation_scores)
from mmdino.registry import LOOPS
from mmdino.utils.progress import track


class Patches(NamedTuple):
    """Labelled patches of a gallery, in the order of its images."""
    features: Tensor  # (P, D) float32, on the CPU
    labels: Tensor  # (P, )


@LOOPS.register_module()
class DenseTestLoop(TestLoop):
    """Segment queries by the patches of a gallery, without training a model.

    The classes of a query's patches are found in two ways: by the votes of the
    nearest patches of the gallery, and by a linear layer that is fitted to the
    gallery by ridge regression. The scores are upsampled bilinearly to the
    size of the mask. The results are ``dense/knn_miou``,
    ``dense/knn_accuracy`` (of pixels), ``dense/linear_miou`` and
    ``dense/linear_accuracy``, in percent. The model must be a
    :class:`FrozenTeacher` whose backbone gives patches.

    Args:
        runner: The runner.
        dataloader: The queries. Their sampler must give each image to one rank
            only (``round_up=False``).
        evaluator: Passed to MMEngine's ``TestLoop``; its metrics are not used.
        gallery_dataloader: The gallery, with a sampler like that of the
            queries.
        num_classes: Number of classes C; pixels of other classes are left out.
        first_class: Number of the first class in the masks.
        mask_key: Field of the samples that holds the mask (H, W).
        patches_per_image: How many patches of each gallery image to use,
            evenly spread; None uses all.
        k: Number of neighbours of a patch.
        temperature: Temperature of the votes exp(similarity / temperature).
        fp16: Whether to compute features with autocast.

    Raises:
        KeyError: In ``run``, if the samples have no masks.
        ValueError: In ``run``, if the backbone gives no patches, an image
            would be used twice, or the gallery has no patch of any class.
    """

    def __init__(self,
                 runner,
                 dataloader: DataLoader | dict,
                 evaluator,
                 gallery_dataloader: DataLoader | dict,
                 num_classes: int,
                 first_class: int = 0,
                 mask_key: str = 'gt_mask',
                 patches_per_image: int | None = 64,
                 k: int = 20,
                 temperature: float = 0.07,
                 fp16: bool = False) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self.gallery_dataloader = runner.build_dataloader(
            gallery_dataloader, seed=runner.seed)
        self.num_classes = num_classes
        self.first_class = first_class
        self.mask_key = mask_key
        self.patches_per_image = patches_per_image
        self.k = k
        self.temperature = temperature

    @torch.no_grad()
    def run(self) -> dict[str, float]:
        """Embed the gallery, segment the queries, score them."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.model = self.runner.model
        self.model.eval()
        self.model.require_patches()
        gallery = self._gallery()
        weight, bias = ridge_classifier(*gallery, self.num_classes)
        matrices = torch.zeros(
            2, self.num_classes, self.num_classes, dtype=torch.int64)
        self._check_each_once(self.dataloader)
        for patches, mask, _ in self._images(self.dataloader, 'Query'):
            rows = patches.flatten(0, 1)
            both = (knn_scores(rows, *gallery,
                               self.num_classes, self.k, self.temperature),
                    rows.double() @ weight.T + bias)
            for matrix, scores in zip(matrices, both):
                maps = scores.T.unflatten(1, patches.shape[:2])
                matrix += confusion(
                    pixel_classes(maps, mask.shape), mask, self.num_classes)
        all_reduce(matrices)
        metrics = {
            f'dense/{name}_{key}': value
            for name, matrix in zip(('knn', 'linear'), matrices)
            for key, value in segmentation_scores(matrix).items()
        }
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    def _gallery(self) -> Patches:
        """Collect the labelled patches of all ranks."""
        self._check_each_once(self.gallery_dataloader)
        own = []
        for patches, mask, index in self._images(self.gallery_dataloader,
                                                 'Gallery'):
            labels = patch_labels(mask, patches.shape[:2],
                                  self.model.backbone.patch_size).flatten()
            places = ((labels >= 0) & (labels < self.num_classes)).nonzero()[:,
                                                                             0]
            count = min(self.patches_per_image or len(places), len(places))
            places = places[torch.arange(count) * len(places) // max(count, 1)]
            own.append((index, patches.flatten(0, 1)[places], labels[places]))
        images = sorted(
            (image for rank in all_gather_object(own) for image in rank),
            key=lambda image: image[0])
        _, features, labels = zip(*images)
        gallery = Patches(torch.cat(features), torch.cat(labels))
        if not len(gallery.labels):
            first = self.first_class
            raise ValueError(
                f'The gallery has no patch of a class from {first} to '
                f'{first + self.num_classes - 1}: its masks hold other '
                'numbers. Set first_class and num_classes of the test loop.')
        return gallery

    def _images(self, loader: DataLoader, name: str):
        """Iterate over patches (h, w, D), mask (H, W) and index of the images.

        The masks hold classes from 0 to C - 1 and other numbers.
        """
        for batch in track(loader, name):
            data = self.model.data_preprocessor(batch)
            with autocast(enabled=self.fp16):
                patches = self.model.patches(data['inputs']).float().cpu()
            require_finite(patches, "images' patch features")
            for rows, sample in zip(patches, data['data_samples']):
                if self.mask_key not in sample:
                    raise KeyError(
                        f'The samples have no `{self.mask_key}`: PackInputs '
                        f"must pack it (algorithm_keys=('{self.mask_key}', "
                        ')).')
                mask = torch.as_tensor(sample.get(self.mask_key)).long().cpu()
                yield rows, mask - self.first_class, sample.sample_idx

    def _check_each_once(self, loader: DataLoader) -> None:
        dealt = sum(all_gather_object(len(loader.sampler)))
        if dealt != len(loader.dataset) or loader.drop_last:
            raise ValueError(
                f'The samplers of all ranks give {dealt} images of the '
                f'{len(loader.dataset)} of the data set, or a last batch is '
                'dropped: set round_up=False in the sampler and leave out '
                'drop_last.')
