"""The course as a site: `sphinx-build -W --keep-going docs/course FOLDER`.

A page quotes the numbers of its example by name, as `{{ forecast.numbers.lstm_mae }}`: they come
from results/NAME.json, which the example wrote. In a cell of a table, where `|` would end the cell,
`{{ "%.2f" % forecast.numbers.lstm_mae }}` rounds.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.append(str(HERE / "extensions"))

project = "fused_rnn: recurrent networks"
copyright = "fused_rnn contributors"
extensions = ["myst_parser", "mathml"]
exclude_patterns = ["README.md"]
html_theme = "furo"
html_title = "Recurrent networks"
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_favicon = "_static/favicon.svg"
html_show_sphinx = False
html_copy_source = False
html_use_index = False

myst_enable_extensions = ["dollarmath", "substitution"]
myst_heading_anchors = 3
# As attributes: of a dict, `numbers.values` would be a method and not the number of that name.
myst_substitutions = {
    path.stem: json.loads(
        path.read_text(encoding="utf-8"), object_hook=lambda fields: SimpleNamespace(**fields)
    )
    for path in sorted((HERE / "results").glob("*.json"))
}

KOREAN = {  # what the theme writes around a page
    html_title: "순환 신경망",
    "Home": "처음",
    "Next": "다음",
    "Previous": "이전",
    "On this page": "이 페이지에서",
    "Back to top": "맨 위로",
    "Skip to content": "본문으로",
    "Search": "검색",
}


def by_language(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Tells the theme which pages are Korean, and lets no `Next` lead to the other language."""
    if page.startswith("ko/"):
        context["language"] = "ko"
        context["docstitle"] = KOREAN[html_title]
        context["_"] = context["gettext"] = lambda text: KOREAN.get(text.strip(), text)
    for way in ("prev", "next"):
        if "/" in page and context[way] and "/" in context[way]["link"]:
            context[way] = None


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", by_language)
