"""How Sphinx makes the documentation: C{make docs}."""

from importlib.metadata import version as installedVersion

project = "lbtwist"
author = "The lbtwist authors"
copyright = "2026, The lbtwist authors"
version = release = installedVersion("lbtwist")

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "lbtwist"
