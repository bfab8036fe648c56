"""The course's pages: complete, alike in both languages, with links and numbers that resolve."""

import json
import re
from collections import Counter
from urllib.parse import unquote, urlsplit

import pytest

from course_site import LANGUAGES, PAGES, SOURCE, build, needs
from fused_rnn.course import CHAPTERS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def pages(site):
    """Every page of the site, parsed, by its path."""
    from bs4 import BeautifulSoup  # furo needs it

    return {
        path.relative_to(site).as_posix(): BeautifulSoup(path.read_text("utf-8"), "html.parser")
        for path in site.rglob("*.html")
    }


def article(pages, page):
    return pages[f"{page}.html"].article


def prose(pages, page):
    """The text of a page without its code."""
    return " ".join(
        text for text in article(pages, page).strings if not text.find_parent(["pre", "code"])
    )


def twin(page):
    language, name = page.split("/")
    return f"{'ko' if language == 'en' else 'en'}/{name}"


def substitutions(page):
    """What a page quotes from the results."""
    text = (SOURCE / f"{page}.md").read_text("utf-8")
    return Counter(re.sub(r"\s", "", quoted) for quoted in re.findall(r"\{\{(.*?)\}\}", text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_chapter_has_a_page_in_the_order_of_the_command(language):
    written = {path.stem for path in (SOURCE / language).glob("*.md")}
    assert written == {"index", *CHAPTERS}
    index = (SOURCE / language / "index.md").read_text("utf-8")
    pages = [(SOURCE / language / f"{name}.md").read_text("utf-8") for name in CHAPTERS]
    titles = [page.partition("\n")[0].removeprefix("# ") for page in pages]
    links = re.findall(r"^1\. \[(.+)\]\((\w+)\.md\): ", index, re.M)
    assert links == list(zip(titles, CHAPTERS, strict=True))
    toctree = re.search(r"```\{toctree\}\n:hidden:\n\n(.*?)\n```", index, re.S)
    assert toctree is not None and toctree[1].split() == list(CHAPTERS)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_results_of_a_full_run(chapter):
    results = SOURCE / "results"
    result = json.loads((results / f"{chapter}.json").read_text("utf-8"))
    assert result["example"] == chapter
    assert result["numbers"] and result["rows"]
    assert result["settings"].get("quick", "False") == "False"
    assert 10_000 < (results / f"{chapter}.png").stat().st_size < 200_000


def test_links_and_anchors_resolve(site, pages):
    ids = {page: {tag["id"] for tag in soup.find_all(id=True)} for page, soup in pages.items()}
    ids = {page: found | {""} for page, found in ids.items()}
    broken = []
    for page, soup in pages.items():
        for tag in soup.find_all(["a", "img", "link", "script"]):
            address = urlsplit(tag.get("href") or tag.get("src") or "")
            if address.scheme or address.netloc:
                continue
            target = (site / page).parent / unquote(address.path) if address.path else site / page
            name = target.resolve().relative_to(site.resolve()).as_posix()
            if not target.is_file() or (name in ids and unquote(address.fragment) not in ids[name]):
                broken.append(f"{page}: {address.geturl()}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(site, pages):
    loading = [
        (page, tag)
        for page, soup in pages.items()
        for tag in soup.find_all(["img", "link", "script", "iframe"])
        if urlsplit(tag.get("href") or tag.get("src") or "").netloc
    ]
    assert loading == []
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text("utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_language(pages, page):
    assert pages[f"{page}.html"].html["lang"] == page.split("/")[0]
    second = article(pages, page).h1.find_next_sibling()
    (link,) = second.find_all("a")
    assert second.name == "p" and second.get_text() == link.get_text()
    assert link.get_text() == ("한국어" if page.startswith("en/") else "English")
    assert link["href"] == f"../{twin(page)}.html"


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("en/")])
def test_both_languages_have_the_same_structure(pages, page):
    def structure(page):
        # Not inline formulas: where one language repeats a symbol, the other has a pronoun.
        tags = ["h1", "h2", "h3", "h4", "pre", "img", "table", "tr", "li"]
        counts = {tag: len(article(pages, page).find_all(tag)) for tag in tags}
        displayed = len(article(pages, page).select(".formula"))
        return counts | {"displayed formulas": displayed, "numbers": substitutions(page)}

    assert structure(page) == structure(twin(page))


@pytest.mark.parametrize("page", PAGES)
def test_numbers_are_resolved(pages, page):
    text = prose(pages, page)
    for left in ("{{", "}}", "namespace(", "built-in method", "bound method", "Undefined"):
        assert left not in text
    assert not re.search(r"\d\.\d{7}", text), "a number that is not rounded"


@pytest.mark.parametrize("chapter", CHAPTERS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_chapter_shows_its_picture_its_formulas_and_its_code(pages, language, chapter):
    page = f"{language}/{chapter}"
    pictures = article(pages, page).find_all("img")
    assert f"{chapter}.png" in [picture["src"].split("/")[-1] for picture in pictures]
    for picture in pictures:
        assert len(picture["alt"]) > 10 and not picture["alt"].endswith(".png")
        assert bool(re.search("[가-힣]", picture["alt"])) == (language == "ko")
    assert article(pages, page).math is not None
    assert substitutions(page), "quotes no number of its results"
    code = [block.get_text() for block in article(pages, page).find_all("pre")]
    assert any(f"python -m fused_rnn course {chapter}" in text for text in code)


def test_a_bad_formula_or_number_fails_the_build_and_names_the_page(tmp_path):
    needs("sphinx", "furo", "myst_parser", "latex2mathml")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("conf.py", "extensions", "_static"):
        (source / name).symlink_to(SOURCE / name)
    (source / "index.md").write_text("# Title\n\n$\\foo{x}$\n\n{{ forecast.numbers.none }}\n")
    process = build(source, tmp_path / "site")
    assert process.returncode != 0
    assert re.search(r"index\.md:3: .*no command \\foo", process.stderr), process.stderr
    assert re.search(r"index\.md:5: .*Undefined", process.stderr), process.stderr
