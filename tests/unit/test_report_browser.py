"""The page of the report in headless Chromium: it opens without a fault, asks for nothing, sorts, and fits its window.

Debian's packages `chromium` and `chromium-driver`, or Chrome and its driver; neither is fetched. Set
CAPSREPRO_SCREENSHOTS to a folder to look at what the tests have seen.
"""

import base64
import functools
import http.server
import itertools
import os
import re
import shutil
from pathlib import Path

import pytest

from capsrepro import report
from capsrepro.core import params
from tests.support import ROOT
from tests.support.archives import png
from tests.support.loopback import Server, serving

pytestmark = pytest.mark.browser
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DRIVER = shutil.which("chromedriver")
# Root needs --no-sandbox, as in most containers; the rest keeps Chromium itself from asking the network for anything.
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --no-proxy-server"
).split()
VERDICTS = "#verdicts table tbody tr td:nth-child({})"
WIDTHS, SCHEMES = (390, 800, 1280), ("light", "dark")


@pytest.fixture(scope="module")
def driver():
    """Chromium by selenium; given both paths, selenium's manager, which would look for downloads, is not started."""
    if not (BROWSER and DRIVER):
        pytest.skip("no Chromium with its chromedriver on this machine: Debian has chromium and chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(DRIVER))
    started.set_page_load_timeout(60)
    yield started
    started.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Our committed quick results, with a wide and a narrow figure and a table of long words beside them."""
    results = tmp_path_factory.mktemp("page") / "results"
    for name in ("metrics", "provenance", "figures", "history"):
        shutil.copytree(ROOT / "results" / "quick" / name, results / "quick" / name, dirs_exist_ok=True)
    for name in ("paper.csv", "claims.csv"):
        shutil.copy(ROOT / "results" / name, results)
    for name, size in (("figure3", (2000, 40)), ("figure-a2", (30, 60))):
        (results / "quick" / "figures" / f"{name}.png").write_bytes(png(*size))
    (results / "quick" / "studies").mkdir()
    (results / "quick" / "studies" / "tried.csv").write_text(
        f"what,error\n{'endless' * 40},9.5\n{'word ' * 60},10.25\nc,\nd,-3\n"
    )
    report.write(params.read(ROOT / "params.yaml"), results, "quick")
    return results / "quick"


@pytest.fixture
def page(driver, folder):
    """The page opened from loopback, as a server would give it; its requests are kept by the server."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=folder)
    server = Server(handler)
    with serving(server):
        driver.get_log("browser"), driver.get_log("performance")
        driver.get(f"{server.address}report.html")
        driver.asked = asked
        yield driver
        driver.get("about:blank")


def texts(page, selector):
    return page.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((element) => element.textContent.trim())", selector
    )


def press(page, section, column):
    """Clicks the header of a column; returns what `aria-sort` then says of each."""
    page.find_element("css selector", f"#{section} th:nth-child({column}) button").click()
    return [
        element.get_attribute("aria-sort") for element in page.find_elements("css selector", f"#{section} thead th")
    ]


def resize(page, width, scheme="light"):
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def test_the_page_must_open_without_a_fault_and_ask_for_nothing_else(page):
    assert page.title.startswith("Dynamic Routing Between Capsules")
    assert page.asked == ["/report.html"]
    assert page.get_log("browser") == []
    sent = [line["message"] for line in page.get_log("performance") if '"Network.requestWillBeSent"' in line["message"]]
    addresses = {re.search(r'"request":\{.*?"url":"([^"]+)"', message)[1] for message in sent}
    assert {address for address in addresses if not address.startswith("data:")} == {page.current_url}


def test_all_images_must_be_visible(page, folder):
    sizes = page.execute_script("return [...document.images].map((one) => [one.naturalWidth, one.clientWidth])")
    assert len(sizes) == len(list((folder / "figures").glob("*.png")))
    assert all(natural > 0 and shown > 0 for natural, shown in sizes)
    assert page.execute_script("return [...document.images].every((image) => image.alt)")


def test_a_header_must_sort_by_number_up_and_down_and_back(page):
    column = 4  # measured: `3.34 (334/10000)`, or nothing
    before = texts(page, VERDICTS.format(column))
    filled = sorted((text for text in before if text), key=lambda text: float(text.split()[0]))
    empty = [""] * (len(before) - len(filled))
    assert len(filled) > 1
    assert press(page, "verdicts", column)[column - 1] == "ascending"
    assert texts(page, VERDICTS.format(column)) == filled + empty
    assert press(page, "verdicts", column)[column - 1] == "descending"
    assert texts(page, VERDICTS.format(column)) == filled[::-1] + empty
    assert set(press(page, "verdicts", column)) == {"none"}
    assert texts(page, VERDICTS.format(column)) == before


def test_numbers_of_other_lengths_signs_and_gaps_must_sort_by_value(page):
    press(page, "sheet-tried", 2)
    assert texts(page, "#sheet-tried td:nth-child(2)") == ["-3", "9.5", "10.25", ""]
    assert press(page, "sheet-tried", 1) == ["ascending", "none"]


def test_a_column_must_sort_by_keyboard_alone(page):
    from selenium.webdriver.common.keys import Keys

    button = page.find_element("css selector", "#runs th:nth-child(3) button")
    page.execute_script("arguments[0].focus()", button)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    errors = [float(text) for text in texts(page, "#runs td:nth-child(3)")]
    assert errors == sorted(errors)
    assert page.find_element("css selector", "#runs th:nth-child(3)").get_attribute("aria-sort") == "ascending"
    page.switch_to.active_element.send_keys(Keys.SPACE)
    assert [float(text) for text in texts(page, "#runs td:nth-child(3)")] == errors[::-1]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_must_fit_its_width(page, width, scheme):
    resize(page, width, scheme)
    wide, inner = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert inner == width
    assert wide <= inner
    outside = """return [...document.querySelectorAll("h1, h2, h3, h4, p, li, figure, img, figcaption, nav, svg, td")]
        .filter((one) => one.getBoundingClientRect().right > innerWidth).map((one) => one.outerHTML.slice(0, 80))"""
    assert page.execute_script(outside) == []
    if picture_folder := os.environ.get("CAPSREPRO_SCREENSHOTS"):
        shot = page.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})["data"]
        Path(picture_folder, f"report-{width}-{scheme}.png").write_bytes(base64.b64decode(shot))


@pytest.mark.parametrize("width", WIDTHS)
def test_every_cell_must_be_readable_without_scrolling_sideways(page, width):
    """No table is wider than its box, and each method and verdict lies within the window, nothing over it."""
    resize(page, width)
    wide = """return [...document.querySelectorAll(".scroll")].filter((one) => one.scrollWidth > one.clientWidth)
        .map((one) => one.getAttribute("aria-labelledby"))"""
    assert page.execute_script(wide) == []
    hidden = """return [...document.querySelectorAll(arguments[0])].filter((one) => {
        one.scrollIntoView({block: "center"});
        const box = one.getBoundingClientRect();
        const middle = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
        return box.left < 0 || box.right > innerWidth || box.width < 20 || !one.contains(middle);
    }).map((one) => one.textContent)"""
    for section in ("#verdicts", "#claims"):
        assert len(texts(page, f"{section} tbody .badge")) > 10
        assert page.execute_script(hidden, f"{section} tbody th, {section} tbody .badge") == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_forest_must_stand_between_name_and_verdict_or_below_them(page, width):
    """Marks lie within their strip; in a wide window a line is one row, else the strip has all of one."""
    resize(page, width)
    lines = page.execute_script(
        """return [...document.querySelectorAll(".family li")].map((line) => {
            const box = (one) => one.getBoundingClientRect().toJSON();
            const [strip, name, verdict] = [".strip", ".name", ".badge"].map((part) => box(line.querySelector(part)));
            const marks = [...line.querySelectorAll(".ours, .paper, .interval, .band")].map(box);
            return {strip, name, verdict, marks};
        })"""
    )
    assert len(lines) == 12 + 13  # claims that are measured, and the paper's numbers
    for line in lines:
        strip, name, verdict = line["strip"], line["name"], line["verdict"]
        assert line["marks"]
        for mark in line["marks"]:
            assert strip["left"] - 1 <= mark["left"] <= mark["right"] <= strip["right"] + 1
            assert strip["top"] - 1 <= mark["top"] <= mark["bottom"] <= strip["bottom"] + 1
        if width == 1280:
            assert name["right"] <= strip["left"] < strip["right"] <= verdict["left"]
        else:
            assert max(name["bottom"], verdict["bottom"]) <= strip["top"] + 1
            assert strip["right"] - strip["left"] > 0.8 * width


def test_ticks_must_stand_under_the_lines_of_the_strips(page):
    resize(page, 1280)
    places = page.execute_script(
        """return [...document.querySelectorAll(".family")].map((one) => {
            const middle = (mark) => { const box = mark.getBoundingClientRect(); return (box.left + box.right) / 2; };
            return [[...one.querySelectorAll(".ticks text")].map(middle),
                [...one.querySelector("li .strip").querySelectorAll(".grid")].map(middle)];
        })"""
    )
    assert len(places) > 6
    for numbers, lines in places:
        assert numbers == pytest.approx(lines, abs=1)


def test_keyboard_and_screen_reader_meet_the_page_from_top_to_bottom(page):
    from selenium.webdriver.common.keys import Keys

    resize(page, 1280)
    page.execute_script("document.body.focus(); scrollTo(0, 0)")
    page.find_element("css selector", "body").send_keys(Keys.TAB)
    assert page.switch_to.active_element.get_attribute("class") == "skip"
    places, order = (
        [],
        "return [scrollY + arguments[0].getBoundingClientRect().top, arguments[0].getBoundingClientRect().left]",
    )
    for _ in range(12):
        page.switch_to.active_element.send_keys(Keys.TAB)
        places.append(page.execute_script(order, page.switch_to.active_element))
    assert places == sorted(places)
    levels = page.execute_script(
        "return [...document.querySelectorAll('h1, h2, h3, h4')].map((one) => +one.tagName[1])"
    )
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
    tree = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = [node["role"]["value"] for node in tree]
    assert {"main", "banner", "navigation", "table", "rowheader", "columnheader"} <= set(roles)


@pytest.mark.parametrize("width", (390, 1280))
def test_tables_must_stay_tables_to_a_screen_reader(page, width):
    """Cards are a matter of looks: rows, headers and cells are still told as such."""
    resize(page, width)
    tree = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = [node["role"]["value"] for node in tree if not node.get("ignored")]
    tables, heads = (
        page.execute_script(f"return document.querySelectorAll('{what}').length") for what in ("table", "thead th")
    )
    assert roles.count("table") == tables
    assert roles.count("columnheader") == heads
    assert roles.count("rowheader") == page.execute_script("return document.querySelectorAll('tbody tr').length")


def test_it_must_print_with_all_columns_on_the_sheet(page):
    """On A4 landscape, 1032 pixels wide within its margins."""
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    size = {"width": 1032, "height": 700, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    outside = """return [...document.querySelectorAll("td, th, svg, img, .badge")]
        .filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 90))"""
    assert page.execute_script(outside) == []
    assert page.find_element("css selector", "nav").value_of_css_property("display") == "none"
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_must_stand_out_from_its_ground(page, scheme):
    """At least 4.5 : 1, as WCAG's AA wants, for words, notes, links and every badge."""
    resize(page, 1400, scheme)
    for word in ("reproduced", "better", "missed", "inconclusive"):
        badge = f"<b class='badge {word}'>{word}</b>"
        page.execute_script("document.querySelector('.counts').insertAdjacentHTML('beforeend', arguments[0])", badge)
    colours = page.execute_script(
        """const all = "p, td, td a, th button, .badge, nav a, figcaption, li span, tbody th";
        return [...document.querySelectorAll(all)].map((one) => {
            let under = one;
            while (getComputedStyle(under).backgroundColor === "rgba(0, 0, 0, 0)") under = under.parentElement;
            return [getComputedStyle(one).color, getComputedStyle(under).backgroundColor, one.className];
        })"""
    )
    assert len(colours) > 100
    for ink, ground, name in colours:
        assert contrast(ink, ground) >= 4.5, (name, ink, ground)


def contrast(*colours):
    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, colours))
    return (high + 0.05) / (low + 0.05)
