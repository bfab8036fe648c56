"""The course in Debian's chromium without a window: what a reader sees, on a phone too."""

import functools
import json
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from course_site import PAGES, needs, skip

pytestmark = pytest.mark.slow

WIDTHS = {"desktop": 1280, "phone": 390}
OPTIONS = """--headless=new --no-sandbox --disable-gpu --no-first-run --disable-sync --disable-quic
--disable-background-networking --disable-component-update""".split()
SEEN = """
const article = document.querySelector("article");
const size = tag => [tag.getBoundingClientRect().width, tag.getBoundingClientRect().height];
const scrolls = tag =>
  tag !== article && (getComputedStyle(tag).overflowX === "auto" || scrolls(tag.parentElement));
const wide = tag => tag.getBoundingClientRect().right > innerWidth && !scrolls(tag);
return [
  [...document.images].map(image => [image.src, image.naturalWidth, ...size(image)]),
  [...document.querySelectorAll("math")].map(math => [math.textContent, ...size(math)]),
  [...article.querySelectorAll("*")].filter(wide).map(tag => tag.outerHTML),
  document.documentElement.scrollWidth,
  article.innerText,
];
"""


class Handler(SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address(site):
    """Of the site, served on this machine."""
    handler = functools.partial(Handler, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A new browser, whose logs have every request and every error."""
    needs("selenium")
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        skip("no chromium and chromedriver: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for option in [*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


def visit(chromium, address, page, width):
    """Opens a page at a width in pixels, in a phone's way if it is narrow."""
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    chromium.get(f"{address}/{page}.html")


def requests(chromium):
    """The addresses asked for since the last call, but not those of the browser's own pages."""
    events = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    urls = [event["request"]["url"] for event in sent]
    return [url for url in urls if not url.startswith(("chrome:", "data:"))]


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("page", ["index", *PAGES])
def test_page(chromium, address, page, width):
    requests(chromium)
    chromium.get_log("browser")
    visit(chromium, address, page, width)
    images, formulas, cut, content, text = chromium.execute_script(SEEN)
    assert len(text) > 100
    assert [image for image in images if min(image[1:]) < 100 or image[2] > width] == []
    assert [formula for formula in formulas if min(formula[1:]) < 4] == []
    assert cut == [], "wider than the screen"
    assert content <= width
    asked = requests(chromium)
    assert f"{address}/{page}.html" in asked
    assert [url for url in asked if not url.startswith(f"{address}/")] == []
    assert chromium.get_log("browser") == []


@pytest.mark.parametrize("page", PAGES)
def test_language_link_leads_to_the_twin_and_back(chromium, address, page):
    visit(chromium, address, page, WIDTHS["desktop"])
    language, name = page.split("/")
    for expected in ("ko" if language == "en" else "en", language):
        chromium.find_element("css selector", "article h1 + p > a").click()
        assert chromium.current_url == f"{address}/{expected}/{name}.html"
        assert chromium.execute_script("return document.documentElement.lang") == expected


def test_reader_without_javascript_sees_formulas(chromium, address):
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        visit(chromium, address, "en/gradients", WIDTHS["desktop"])
        formula = chromium.find_element("css selector", ".formula math")
        assert formula.size["width"] > 50 and formula.size["height"] > 10
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
