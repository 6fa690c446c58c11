"""Sphinx: the Markdown pages of this folder, and the API reference from the docstrings.

``sphinx-build -W -n -b html docs site`` (extra ``docs``); warnings are errors, unknown references too.
"""

import inspect
from importlib.metadata import version as _version

project = "memocache"
author = "the memocache maintainers"
copyright = author
version = release = _version("memocache")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
default_role = "literal"  # docstrings quote names in single backquotes
exclude_patterns = ["examples"]
autodoc_typehints = "none"  # the signature is in the types; pages stay readable
autodoc_member_order = "bysource"
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository that are no pages
nitpicky = False

html_theme = "furo"
html_title = "memocache"
html_static_path = ["_static"]
html_css_files = ["site.css"]


def with_options(app, what, name, obj, options, lines):
    """Add to `cached` and `cached_many`, which are objects, what their call says of the options."""
    if name in ("memocache.cached", "memocache.cached_many"):
        lines += ["", *inspect.getdoc(type(obj).__call__).splitlines(), ""]


def setup(app):
    app.connect("autodoc-process-docstring", with_options, priority=400)  # before napoleon reads the arguments
