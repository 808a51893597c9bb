"""The page in a real browser: sorting, zooming, menus, schemes, printing, and no network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lensbench.comparison.compare import compare
from lensbench.config import DataSpec
from lensbench.data.pack import fingerprint, open_or_build_pack
from lensbench.reporting.page.page import write_page
from lensbench.runs.layout import find_records

from .page_runs import CLASSES, QUICK_JUDGE, image_ids, store_run

if TYPE_CHECKING:
    from playwright import sync_api

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.slow

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 20_000
NASTY = "<img src=x onerror=alert(1)>"


@dataclass
class Tab:
    """A page in the browser, with what it asked for and complained of."""

    page: sync_api.Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def drawn(self, name: str) -> sync_api.Locator:
        """Scroll to a plot and wait until it is drawn."""
        plot = self.page.locator(f"[data-chart={name}]")
        plot.evaluate("plot => plot.scrollIntoView({behavior: 'instant'})")
        plot.locator(".main-svg").first.wait_for(state="attached")
        return plot

    def column(self, place: int) -> list[str]:
        return self.page.locator(f".ranking tbody tr > :nth-child({place})").all_inner_texts()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """Four models with pictures; the name of one would run a script if it were not escaped."""
    root = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    for name in image_ids(90, CLASSES):
        path = root / "lenses" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, rng.random((1, 20, 20)))
    data = DataSpec(path=root / "lenses", cache=root / "cache")
    pack = open_or_build_pack(data)
    known = fingerprint(
        pack.catalogue.ids, (pack.classes[k] for k in pack.labels), pack.digests.tolist()
    )
    for i, name in enumerate(("Good", "Fair", "Poor", "Nasty")):
        store_run(
            root / "runs",
            name,
            2.5 - 0.6 * i,
            seed=i,
            n=90,
            data=data.path,
            test_fingerprint=known,
            minutes=(30, 5, 100, 7)[i],
        )
    record = root / "runs" / "Nasty" / "record.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"model_desc": NASTY}))
    comparison = compare(find_records(root / "runs"), QUICK_JUDGE)
    return write_page(comparison, root / "report.html", QUICK_JUDGE).path


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: the page cannot be tried in a browser")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS, timeout=PATIENCE_MS
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: sync_api.Browser, report: Path, **options) -> Iterator[Tab]:
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
    try:
        context.set_default_timeout(PATIENCE_MS)
        tab = Tab(context.new_page())
        tab.page.on("request", lambda request: tab.requests.append(request.url))
        tab.page.on("console", lambda message: tab.complaints.append(message.text))
        tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.page.on("dialog", lambda dialog: tab.complaints.append("a script was run"))
        tab.page.goto(report.as_uri())
        yield tab
        assert tab.complaints == []
        assert tab.requests == [report.as_uri()]
    finally:
        context.close()


@pytest.fixture
def tab(browser, report) -> Iterator[Tab]:
    with opened(browser, report) as tab:
        yield tab


def test_the_table_sorts_both_ways_and_says_so(tab):
    ranked = tab.column(2)
    assert ranked[0] == "Good"
    assert NASTY in ranked
    minutes = tab.page.get_by_role("button", name="Training")
    head = tab.page.locator("th", has=minutes)
    minutes.click()
    assert tab.column(2) == ["Fair", NASTY, "Good", "Poor"]
    assert head.get_attribute("aria-sort") == "ascending"
    minutes.click()
    assert tab.column(2) == ["Poor", "Good", NASTY, "Fair"]
    assert head.get_attribute("aria-sort") == "descending"
    tab.page.locator(".ranking").get_by_role("button", name="Model").click()
    assert tab.column(2) == sorted(ranked, key=str.lower)
    assert head.get_attribute("aria-sort") == "none"
    assert "Sorted by Model" in tab.page.get_by_role("status").inner_text()
    tab.page.get_by_role("button", name="#").click()
    assert tab.column(2) == ranked


def test_the_table_sorts_by_keyboard(tab):
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.className") == "skip"
    tab.page.keyboard.press("Enter")
    assert tab.page.evaluate("document.activeElement.id") == "content"
    tab.page.keyboard.press("Tab")  # the table, which scrolls
    for _ in range(7):
        tab.page.keyboard.press("Tab")
    focused = tab.page.evaluate("document.activeElement.textContent")
    assert focused == "Training"
    outline = tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    tab.page.keyboard.press("Enter")
    assert tab.column(2)[0] == "Fair"


def test_plots_are_drawn_when_they_come_into_view(tab):
    drawn = "document.querySelectorAll('.js-plotly-plot').length"
    tab.page.wait_for_function("() => window.Plotly")
    tab.page.wait_for_timeout(200)
    n_before = tab.page.evaluate(drawn)
    tab.drawn("history")
    assert n_before < tab.page.evaluate(drawn)
    assert n_before < 2


def test_zooming_into_a_plot_and_back(tab):
    plot = tab.drawn("roc")
    span = "plot => plot._fullLayout.xaxis.range.map((at) => Math.round(100 * at) / 100)"
    assert plot.evaluate(span) == [0, 1]
    box = plot.locator(".nsewdrag").first.bounding_box()
    left, top = box["x"], box["y"]
    mouse = tab.page.mouse
    mouse.move(left + 0.1 * box["width"], top + 20)
    mouse.down()
    mouse.move(left + 0.5 * box["width"], top + 0.6 * box["height"], steps=5)
    mouse.up()
    tab.page.wait_for_function(
        "() => document.querySelector('[data-chart=roc]')._fullLayout.xaxis.range[1] < 0.6"
    )
    assert plot.evaluate(span) == pytest.approx([0.1, 0.5], abs=0.03)
    tab.page.set_viewport_size({"width": 1100, "height": 900})
    tab.page.wait_for_function(
        "() => document.querySelector('[data-chart=roc]')._fullLayout.width < 1060"
    )
    assert plot.evaluate(span) == pytest.approx([0.1, 0.5], abs=0.03)
    box = plot.locator(".nsewdrag").first.bounding_box()
    left, top = box["x"], box["y"]
    for _ in range(10):  # on a busy machine two clicks may come too late to be one double click
        mouse.dblclick(left + 0.5 * box["width"], top + 0.5 * box["height"])
        tab.page.wait_for_timeout(400)
        if plot.evaluate(span) == [0, 1]:
            break
    assert plot.evaluate(span) == [0, 1]


@pytest.mark.parametrize("width", [1280, 390])
def test_names_and_ticks_are_whole_and_apart(browser, report, width):
    boxes_of = """(plot, selector) => [...plot.querySelectorAll(selector)]
      .filter((text) => text.textContent).map((text) => {
        const { left, top, right, bottom } = text.getBoundingClientRect();
        return [left, top, right, bottom];
      })"""
    with opened(browser, report, viewport={"width": width, "height": 900}) as tab:
        cost = tab.drawn("cost")
        sides = "one => one.data.slice(1).map((trace) => trace.textposition.join()).join()"
        figure = "figures.cost[0]" if width > 600 else "figures.cost[0].narrow"
        assert cost.evaluate(sides) == tab.page.evaluate(f"({sides})({figure})")
        names = cost.evaluate(boxes_of, ".textpoint text")
        titles = cost.evaluate(boxes_of, ".ytitle, .ytick text, .xtick text")
        assert len(names) >= 2
        for place, (left, top, right, bottom) in enumerate(names):
            assert 0 <= left < right <= width
            for x0, y0, x1, y1 in titles + names[:place]:
                assert right <= x0 or x1 <= left or bottom <= y0 or y1 <= top
        ticks = tab.drawn("history").locator(".xtick text").all_text_contents()
        assert ticks == ["2", "4", "6", "8", "10", "12", "14"]


def test_a_menu_chooses_the_class_of_the_curves(tab):
    plot = tab.drawn("roc")
    points = "plot => plot.data.at(-2).y.join()"
    before = plot.evaluate(points)
    tab.page.get_by_label("Curve", exact=True).select_option(label="vort")
    assert plot.evaluate(points) != before
    assert plot.evaluate(points) == tab.page.evaluate("figures.roc[3].data.at(-2).y.join()")


def test_a_model_is_chosen_from_the_table_or_from_the_menu(tab):
    shown = tab.page.locator("article.model:visible h3")
    assert shown.all_inner_texts() == ["Good"]
    tab.page.locator(".ranking").get_by_role("link", name="Fair").click()
    assert shown.all_inner_texts() == ["Fair"]
    place = int(tab.page.get_by_label("Model", exact=True).input_value())
    assert tab.column(2)[place] == "Fair"
    reliability = tab.drawn("reliability")
    expected = f"figures.reliability[{place}].data[1].y.join()"
    assert reliability.evaluate("plot => plot.data[1].y.join()") == tab.page.evaluate(expected)
    tab.page.get_by_label("Model", exact=True).select_option(label=NASTY)
    assert shown.all_inner_texts() == [NASTY]
    assert reliability.evaluate("plot => plot.data[1].y.join()") != tab.page.evaluate(expected)


def test_the_gallery_shows_its_pictures_and_every_opinion(tab):
    gallery = tab.page.locator(".gallery").first
    gallery.scroll_into_view_if_needed()
    picture = gallery.locator("img").first
    tab.page.wait_for_function("() => document.querySelector('.gallery img').naturalWidth === 20")
    assert picture.get_attribute("alt").startswith("Test image val/")
    card = gallery.locator("li").first
    assert not card.locator("table").is_visible()
    card.locator("summary").focus()
    tab.page.keyboard.press("Enter")
    assert card.locator("table").is_visible()
    assert card.locator("table tr").count() == 4


def test_all_pairs_can_be_read_by_keyboard_and_sorted(tab):
    pairs = tab.page.get_by_role("region", name="All pairs")
    assert not pairs.is_visible()
    tab.page.locator("#pairs summary").focus()
    tab.page.keyboard.press("Enter")
    assert pairs.is_visible()
    assert pairs.locator("tbody tr").count() == 6
    values = (
        "table => [...table.querySelectorAll('tbody tr')].map((r) => +r.cells[2].dataset.value)"
    )
    pairs.get_by_role("button", name="Difference").press("Enter")
    found = pairs.evaluate(values)
    assert found == sorted(found, reverse=True)


def test_a_long_name_leaves_its_row_a_number(browser, tmp_path):
    long = "a_long_name_of_a_model_EfficientNetV2-Large_pretrained_and_fine-tuned_twice"
    for i, name in enumerate((long, "short")):
        store_run(tmp_path / "runs", name, 2.5 - i, seed=i)
    comparison = compare(find_records(tmp_path / "runs"), QUICK_JUDGE)
    page = write_page(comparison, tmp_path / "report.html", QUICK_JUDGE).path
    inside = """head => {
      const number = head.querySelector(".quiet").getBoundingClientRect();
      const { left, right } = head.getBoundingClientRect();
      return left < number.left && number.right < right;
    }"""
    for width in (1280, 390):
        with opened(browser, page, viewport={"width": width, "height": 900}) as tab:
            heads = tab.page.locator(".pairs tbody th")
            assert [heads.nth(i).evaluate(inside) for i in range(2)] == [True, True]
            assert heads.first.evaluate("head => head.clientWidth") < 280
            assert tab.page.evaluate("document.documentElement.scrollWidth") == width


def test_both_schemes_are_legible_and_plots_follow(browser, report):
    """Contrast of text as WCAG 2 defines it, at least 4.5."""
    contrast = """() => {
      const light = (text) => {
        const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
          .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const paper = light(getComputedStyle(document.body).backgroundColor);
      const texts = [".lead", ".quiet", ".caption", ".tied .letters", "td small", "thead button"];
      return Math.min(...texts.map((selector) => {
        const ink = light(getComputedStyle(document.querySelector(selector)).color);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
      }));
    }"""
    paper = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, report, color_scheme="dark") as tab:
        assert tab.page.evaluate(paper) == "rgb(20, 23, 27)"
        assert tab.page.evaluate(contrast) >= 4.5
        plot = tab.drawn("roc")
        ink = "plot => plot._fullLayout.font.color"
        assert plot.evaluate(ink) == "#e7e9ec"
        button = tab.page.get_by_role("button", name="Dark")
        assert button.get_attribute("aria-pressed") == "true"
        button.click()
        assert button.get_attribute("aria-pressed") == "false"
        assert tab.page.evaluate(paper) == "rgb(255, 255, 255)"
        assert tab.page.evaluate(contrast) >= 4.5
        assert plot.evaluate(ink) == "#1c1f23"


def test_confusion_matrices_are_legible_whatever_the_share(browser, report):
    """Contrast as WCAG 2 defines it, of what a pixel of the cell has: its shade over the paper."""
    contrasts = """() => {
      const channels = (text) => text.match(/[\\d.]+/g).map(Number);
      const light = (rgb) => {
        const [r, g, b] = rgb.map((v) => v / 255)
          .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const paper = channels(getComputedStyle(document.body).backgroundColor).slice(0, 3);
      const cell = document.querySelector(".confusion tbody td");
      return [...Array(21).keys()].map((step) => {
        cell.style.setProperty("--share", step / 20);
        const [r, g, b, alpha = 1] = channels(getComputedStyle(cell).backgroundColor);
        const shown = paper.map((v, i) => (1 - alpha) * v + alpha * [r, g, b][i]);
        return [cell, cell.querySelector("small")].map((text) => {
          const { color, opacity } = getComputedStyle(text);
          if (opacity !== "1") throw new Error("not the colour that is seen");
          const ink = light(channels(color).slice(0, 3));
          return [contrast(ink, light(shown)), contrast(light(paper), light(shown))];
        });
      });
    }"""
    for scheme in ("light", "dark"):
        with opened(browser, report, color_scheme=scheme) as tab:
            found = np.array(tab.page.evaluate(contrasts))
        assert found.shape == (21, 2, 2)
        assert found[..., 0].min() >= 4.5
        assert (found[..., 0] >= found[..., 1]).all()
        assert found[-1, 0, 1] > 2  # and yet a full cell is told from an empty one


def test_a_phone_scrolls_tables_and_not_the_page(browser, report):
    with opened(browser, report, viewport={"width": 390, "height": 800}) as tab:
        for name in ("roc", "cost", "reliability", "history"):
            tab.drawn(name)
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
        wide = tab.page.locator(".wide").first
        assert wide.evaluate("one => one.scrollWidth > one.clientWidth")
        tops = tab.page.locator("[data-chart=roc]").evaluate(
            "plot => [...plot.querySelectorAll('.nsewdrag')]"
            ".map((one) => one.getBoundingClientRect().top)"
        )
        assert abs(tops[0] - tops[1]) > 200  # one plot below the other


def test_printing_draws_everything_on_white(browser, report, tmp_path):
    with opened(browser, report, color_scheme="dark") as tab:
        tab.page.evaluate(
            """() => addEventListener("beforeprint", () => {
              window.printed = [...document.querySelectorAll(".plot")].map(
                (plot) => [plot._fullLayout?.font.color, plot._fullLayout?.width]);
            })"""
        )
        tab.page.pdf(path=tmp_path / "page.pdf", format="A4")
        printed = tab.page.evaluate("window.printed")
        assert {colour for colour, _ in printed} == {"#1c1f23"}
        assert max(width for _, width in printed) < 703  # A4 less its margins, in CSS pixels
        width = "document.querySelector('[data-chart=roc]')._fullLayout.width"
        assert tab.page.evaluate(width) > 1000  # the screen has its plots back
        tab.page.emulate_media(media="print")
        assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
    printed = (tmp_path / "page.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Subtype /Image") >= 12  # the galleries


def test_motion_is_left_out_where_it_is_not_wanted(browser, report):
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    for wanted, expected in (("reduce", "auto"), ("no-preference", "smooth")):
        with opened(browser, report, reduced_motion=wanted) as tab:
            assert tab.page.evaluate(behaviour) == expected


def test_without_scripts_everything_but_the_plots_is_there(browser, report):
    with opened(browser, report, java_script_enabled=False) as tab:
        assert tab.page.locator("article.model:visible").count() == 4
        assert tab.page.locator(".bar:visible").count() == 4


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """All models of the contract, and as many images as the split `sealed` has of its archive."""
    root = tmp_path_factory.mktemp("large")
    for i in range(23):
        name, separation = f"Model {i:02}", 1.5 + 0.06 * i
        store_run(root / "runs", name, separation, seed=i, n=7500, n_validation=3000)
    comparison = compare(find_records(root / "runs"), QUICK_JUDGE)
    return write_page(comparison, root / "report.html", QUICK_JUDGE).path


def test_a_large_page_is_of_moderate_size(large):
    assert large.stat().st_size < 15e6


def test_a_large_page_does_not_hang(browser, large):
    with opened(browser, large) as tab:
        tab.page.locator(".ranking").get_by_role("button", name="Accuracy").click(timeout=10_000)
        assert len(tab.column(2)) == 23
        tab.drawn("roc")
        assert tab.page.evaluate("performance.now()") < 10_000
