"""docs/course/extensions/mathml.py: LaTeX becomes MathML, or an error that says what is wrong."""

import sys
from xml.etree import ElementTree

import pytest

from course_site import SOURCE, needs


@pytest.fixture(scope="module")
def mathml():
    needs("sphinx", "latex2mathml")
    sys.path.append(str(SOURCE / "extensions"))
    import mathml

    yield mathml
    sys.path.remove(str(SOURCE / "extensions"))


def tags(mathml, latex, display="block"):
    """The formula as `tag:text` of its leaves, and the names of all its elements."""
    tree = ElementTree.fromstring(mathml.to_mathml(latex, display))
    assert tree.attrib["display"] == display
    names = [element.tag.removeprefix(f"{{{mathml.NAMESPACE}}}") for element in tree.iter()]
    texts = [element.text or "" for element in tree.iter()]
    return [f"{name}:{text}" for name, text in zip(names, texts, strict=True)]


@pytest.mark.parametrize(
    ("latex", "found"),
    [
        (r"h_t = \tanh(W x_t + b)", ["msub:", "mi:tanh", "mi:W", "mo:="]),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", ["mtable:", "mtr:", "mi:d"]),
        (r"a &= b \\ c &= d", ["mtable:", "mi:d"]),
        (r"x \sim p", ["mo:\u223c"]),
        (r"\sum_{t=1}^{T} x_t", ["munderover:", "mo:\u2211"]),
        (r"\operatorname*{argmin}_\theta L", ["munder:", "mo:argmin"]),
        (r"a < b, \{ c \}", ["mo:<", "mo:{", "mo:}"]),
        (r"\text{보폭 } t", ["mtext:보폭\u00a0"]),
    ],
)
def test_formula(mathml, latex, found):
    assert [tag for tag in found if tag not in tags(mathml, latex)] == []


def test_upright_letter(mathml):
    upright, italic = r"\mathrm{d}x", "dx"
    assert '<mi mathvariant="normal">d</mi><mi>x</mi>' in mathml.to_mathml(upright, "inline")
    assert "<mi>d</mi><mi>x</mi>" in mathml.to_mathml(italic, "inline")


@pytest.mark.parametrize(
    ("latex", "message"),
    [
        (r"\foo{x}", r"no command \\foo"),
        (r"\frac{a}{b", "braces"),
        (r"a}{b", "braces"),
        (r"\frac{a}", "denominator"),
        (r"a_b_c", "DoubleSubscripts"),
        (r"\left( x", "MissingRight"),
        (r"\begin{foo} a \end{foo}", "no environment foo"),
        (r"\begin{cases} a", "MissingEnd"),
        (r"a & b", "a & outside"),
    ],
)
def test_error_says_what_is_wrong(mathml, latex, message):
    with pytest.raises(mathml.FormulaError, match=message):
        mathml.to_mathml(latex, "block")
