"""Image loading that says which file it could not read."""
from mmcv.transforms import LoadImageFromFile

from mmdino.registry import TRANSFORMS


class UnreadableImageError(RuntimeError):
    """A file that is missing, damaged or not an image."""


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """mmcv's LoadImageFromFile with one kind of error for every bad file.

    So that a data set can tell a bad file, which it replaces, from a mistake
    in the pipeline, which must stop the run. Gray, palette, alpha, CMYK and
    16-bit images come out as (H, W, 3) uint8 BGR, turned as their EXIF tag
    says.

    Raises:
        UnreadableImageError: Names the file and the cause.
    """

    def transform(self, results: dict) -> dict:
        try:
            return super().transform(results)
        # Whatever a damaged file makes a decoder or zipfile raise; mmcv's own
        # is an AssertionError.
        except Exception as error:
            raise UnreadableImageError(
                f'{results["img_path"]}: {type(error).__name__}: '
                f'{str(error).strip()}') from error
