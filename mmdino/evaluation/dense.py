"""Segmentation by frozen patch features: k-NN and a linear layer."""
from typing import NamedTuple

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.runner import TestLoop
from torch import Tensor
from torch.utils.data import DataLoader

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

    Two ways: the votes of the nearest patches, and a linear layer that ridge
    regression finds. Scores are enlarged bilinearly to the mask; the figures
    are ``dense/knn_miou``, ``dense/knn_accuracy`` (of pixels),
    ``dense/linear_miou`` and ``dense/linear_accuracy``, in percent. The model
    must be a :class:`FrozenTeacher` with patches.

    Args:
        dataloader: The queries. Its sampler must deal each image once
            (``round_up=False``).
        evaluator: None needed.
        gallery_dataloader: As the queries.
        num_classes: C; other numbers in a mask count nowhere.
        first_class: The number in a mask of the first class.
        mask_key: Field of the samples that holds the mask (H, W).
        patches_per_image: Of the gallery, evenly spread; None takes all.
        k: Neighbours of a patch.
        temperature: Of the votes.
        fp16: Whether to embed with autocast.

    Raises:
        ValueError: If an image is dealt twice, or the gallery has no patch of
            a class.
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
            raise ValueError('The gallery has no patch of a class from 0 to '
                             f'{self.num_classes - 1}: its masks hold others.')
        return gallery

    def _images(self, loader: DataLoader, name: str):
        """Iterate the patches (h, w, D), mask (H, W) and index of each image.
        """
        for batch in track(loader, name):
            data = self.model.data_preprocessor(batch)
            patches = self.model.patches(data['inputs']).float().cpu()
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
                f'{len(loader.dataset)} images are dealt as {dealt}: give the '
                'sampler round_up=False, and no drop_last.')
