"""Formulas as MathML, which browsers draw themselves: no script and no request for a page.

latex2mathml passes what it does not know through as text, such as `<mi>\\foo</mi>`; here that is an
error of the page, as is what it raises.
"""

import re
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)

ENVIRONMENTS = "split align* array cases matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix".split()
BELOW = ("max", "min", "lim", "sup", "inf", "argmax", "argmin")  # what LaTeX sets a subscript under
NAMESPACE = "http://www.w3.org/1998/Math/MathML"


class FormulaError(ValueError):
    """LaTeX that has no MathML; the message is for the author of the page."""


def to_mathml(latex: str, display: str) -> str:
    """The `<math>` element of a formula; `display` is block or inline."""
    latex = latex.replace("{aligned}", "{split}")  # the same to us, and latex2mathml knows this one
    if r"\\" in latex and r"\begin" not in latex:
        latex = rf"\begin{{split}}{latex}\end{{split}}"  # as Sphinx itself does
    _check(latex)
    try:
        text = convert(latex, display=display)
    except Exception as error:  # its own have no common base, and odd input raises others
        raise FormulaError(f"{type(error).__name__} {error}".strip()) from error
    # A single letter is italic in MathML unless it says otherwise; \mathrm{d} is written &#x00064;.
    text = re.sub(r"<mi>(&#x000[4-7][0-9A-F];)</mi>", r'<mi mathvariant="normal">\1</mi>', text)
    try:
        tree = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise FormulaError("a & outside an environment, or < or & inside \\text") from error
    _mend(tree)
    ElementTree.register_namespace("", NAMESPACE)
    return ElementTree.tostring(tree, encoding="unicode")


def _check(latex: str) -> None:
    """Refuses what latex2mathml reads without a word, and draws wrong."""
    for name in re.findall(r"\\begin\s*\{(.*?)\}", latex):
        if name not in ENVIRONMENTS:
            raise FormulaError(f"no environment {name}; there are {', '.join(ENVIRONMENTS)}")
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", latex.replace(r"\\", "")):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            break
    if depth:
        raise FormulaError("braces that do not match")


def _mend(tree: ElementTree.Element) -> None:
    """Finds commands that were not understood, and sets some operators as LaTeX does."""
    tag = f"{{{NAMESPACE}}}".__add__
    for element in tree.iter():
        text = element.text or ""
        if element.tag == tag("mi") and text.startswith("\\"):
            raise FormulaError(f"no command {text}")
        if element.tag == tag("mi") and text == "~":  # \sim
            element.tag, element.text = tag("mo"), "\u223c"
        elif element.tag == tag("mfrac") and len(element) < 2:
            raise FormulaError("a fraction without a denominator")
        elif element.tag == tag("msub") and element[0].tag == tag("mo"):
            if element[0].text in BELOW or "movablelimits" in element[0].attrib:
                element.tag = tag("munder")
                element[0].set("movablelimits", "true")
        elif element.tag == tag("mo") and text in ("|", "\u2016"):
            element.attrib.setdefault("stretchy", "false")
        elif element.tag == tag("mover") and element[1].tag == tag("mo"):
            element.set("accent", "true")


def visit_inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(_formula(node, "inline"))
    raise nodes.SkipNode


def visit_block(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(writer.starttag(node, "div", CLASS="formula"))
    writer.body.append(f"<div>{_formula(node, 'block')}</div>")
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})')
        writer.add_permalink_ref(node, "Link to this equation")
        writer.body.append("</span>")
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def _formula(node: nodes.Element, display: str) -> str:
    latex = node.astext()
    try:
        return to_mathml(latex, display)
    except FormulaError as error:
        logger.warning("formula: %s, in: %s", error, latex.strip(), location=node)
        return "<math></math>"


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
