"""What setup.cfg cannot say: a wheel carries configs, tools and the index.

They lie in ``mmdino/.mim``, where ``mim`` and mmdino look for them, and are
put there while a wheel is built; the source tree has no copy.
"""
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

RESOURCES = ('configs', 'tools', 'model-index.yml')


class BuildWithResources(build_py):
    """Copy the resources into what is built, not into the source."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for name in RESOURCES:
                self._copy(Path(name))

    def _copy(self, source: Path) -> None:
        target = Path(self.build_lib, 'mmdino', '.mim', source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            shutil.copy2(source, target)
            return
        shutil.copytree(
            source,
            target,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns('__pycache__'))


setup(cmdclass=dict(build_py=BuildWithResources))
