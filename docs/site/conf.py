"""How Sphinx makes the site; tools/make_site.py says from what, and calls it (`make docs`).

Nothing here takes a resource from another host: fonts are the reader's own, and the search runs in
the browser over an index that lies beside the pages.
"""

project = "Postroom"
author = "the Postroom authors"
copyright = "the Postroom authors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns: list[str] = []

# Every heading has an anchor, named as code forges name it, so that links work on both.
myst_heading_anchors = 4
highlight_language = "text"
nitpicky = True
# What cannot be coloured is shown without colours, and is no mistake.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "Postroom"
html_static_path = ["static"]
html_css_files = ["postroom.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
