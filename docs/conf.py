"""Sphinx reads the pages of this folder, Markdown as on any forge."""
import mmdino

project = 'mmdino'
author = 'The mmdino contributors'
copyright = '2026, The mmdino contributors'
release = mmdino.__version__
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
myst_enable_extensions = ['colon_fence', 'deflist']
myst_heading_anchors = 3
html_theme = 'furo'
html_title = 'mmdino'
autodoc_typehints = 'description'
autodoc_member_order = 'bysource'
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Links to files outside of this folder, in pages that are included here.
suppress_warnings = ['myst.xref_missing', 'myst.header']
exclude_patterns = ['_build']
