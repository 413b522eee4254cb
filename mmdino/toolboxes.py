"""Configs of the sister toolboxes, by ``mmseg::...`` and ``mmdet::...``."""
from mmengine.config.utils import MODULE2PACKAGE


def find_toolboxes() -> None:
    """Let a config inherit from a toolbox under whatever name it comes.

    MMEngine looks for ``mmseg::`` in a distribution named mmsegmentation,
    which onedl-mmsegmentation is not; both have the package mmseg.
    """
    MODULE2PACKAGE.update(mmseg='mmseg', mmdet='mmdet')
