"""What a test on DAVIS 2017 leaves behind."""
from pathlib import Path
from typing import Dict, Optional, Sequence

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

from mmdino.evaluation.davis_results import save_masks, save_tables
from mmdino.evaluation.metrics import DAVISMetric
from mmdino.registry import HOOKS


@HOOKS.register_module()
class DAVISResultsHook(Hook):
    """Write masks and tables below the work dir.

    ``OUT_DIR/masks/SEQUENCE/00000.png`` and so on, the folder to give to the
    benchmark's own scorer, and :class:`DAVISMetric`'s tables
    ``OUT_DIR/global_results-SPLIT.csv`` and
    ``OUT_DIR/per-sequence_results-SPLIT.csv``. They do not lie beside the
    masks, since the benchmark's scorer would print tables it finds there
    instead of scoring.

    Args:
        out_dir (str): Relative to the work dir.
    """

    def __init__(self, out_dir: str = 'davis') -> None:
        self.out_dir = out_dir

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                        outputs: Sequence[DataSample]) -> None:
        """Write the masks of each sequence."""
        for sample in outputs:
            save_masks(
                Path(runner.work_dir, self.out_dir, 'masks', sample.sequence),
                sample.frame_names, sample.pred_masks.numpy())

    @master_only
    def after_test_epoch(self,
                         runner: Runner,
                         metrics: Optional[Dict[str, float]] = None) -> None:
        """Write the tables."""
        folder = Path(runner.work_dir, self.out_dir)
        for metric in runner.test_loop.evaluator.metrics:
            if isinstance(metric, DAVISMetric):
                save_tables(folder, metric.dataset_meta['split'],
                            metric.objects)
        runner.logger.info(f'Masks and tables of DAVIS are in {folder}')
