"""The documentation site: Sphinx reads the Markdown of this folder and the docstrings.

Built by `make docs`. Pages ask for nothing outside of themselves: no fonts, scripts or pictures
from elsewhere, and the search works from files.
"""

from medrobust import __version__

project = "medrobust"
author = "the authors of medrobust"
copyright = "the authors of medrobust, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4  # as on GitHub

nitpicky = True  # an unknown reference is a warning, and a warning an error
nitpick_ignore_regex = [
    (r"py:.*", r"(?!medrobust\.).*"),  # types of other libraries, in signatures
    (r"py:.*", r"medrobust\.\w+\.\w+\.\w+(\.\w+)?"),  # types of ours that no room exports
    (r"py:.*", r"medrobust\.exceptions\.Raised"),  # a type variable
]

napoleon_attr_annotations = False  # signatures have them
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
default_role = "literal"  # single backticks in docstrings are names

html_theme = "furo"
html_title = f"medrobust {version}"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["wrap.css"]
html_theme_options = {"navigation_with_keys": True}
