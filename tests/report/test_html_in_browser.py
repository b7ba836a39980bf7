"""What a person sees of a report: real Chromium, scripts off, wide and narrow, light and dark."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.report.html import to_html
from pytest_dogfood.report.overview import view_of
from pytest_dogfood.storage.record import reference_of
from tests.report.test_html import HOSTILE, Parsed
from tests.support.told_runs import Told, a_bit_of_everything, with_a_lost_machine

CHROMIUM = shutil.which("chromium")
OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true })"
ORDER = [
    "failed, 1 could not be judged",
    "What went wrong",
    "bundle failed in step 2 of 2",
    "expected",
    "exit status 0",
    "got",
    "exit status 1",
    "fatal: nothing",
    "Timeline",
    "build, passed",
    "Journeys",
    "clone, deferred",
    "Tokens",
]
WINDOWS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]

# Contrast by WCAG 2.2, of every text with what lies behind it; of a hatched bar, the lines of the hatching count too.
CONTRAST = r"""
() => {
  const parse = text => {
    const found = text.match(/^rgba?\(([^)]*)\)$/) || text.match(/^color\(srgb ([^)]*)\)$/);
    const parts = found[1].split(/[\s,/]+/).map(one => one.endsWith('%') ? parseFloat(one) / 100 : parseFloat(one));
    const scale = text.startsWith('color') ? 255 : 1;
    return [parts[0] * scale, parts[1] * scale, parts[2] * scale, parts.length > 3 ? parts[3] : 1];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = colour => {
    const [r, g, b] = colour.map(one => one / 255)
      .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const ground = element => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(parse(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below));
  };
  const grounds = element => {
    const svg = element.closest('svg');
    if (svg) {
      element.scrollIntoView({block: 'center', inline: 'center'});
      const box = element.getBoundingClientRect();
      const below = document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2);
      const shape = below.find(one => {
        const style = getComputedStyle(one);
        return svg.contains(one) && !one.matches('text, svg') && style.fill !== 'none' && style.fillOpacity > 0.5;
      });
      return shape ? [parse(getComputedStyle(shape).fill)] : [ground(svg)];
    }
    const behind = ground(element);
    const hatched = element.parentElement.querySelector(':scope > .p');
    if (!hatched || !element.closest('.b')) return [behind];
    const stripe = getComputedStyle(hatched).backgroundImage.match(/rgba?\([^)]*\)/)[0];
    return [behind, over(parse(stripe), behind)];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    const style = getComputedStyle(element);
    if (!text || element.closest('.vh, title, desc') || style.fontSize === '0px') continue;
    if (!element.checkVisibility()) continue;
    const ink = parse(element.closest('svg') ? style.fill : style.color);
    for (const behind of grounds(element)) {
      const value = ratio(over(ink, behind), behind);
      if (value < 4.5) found.push([text.slice(0, 40), element.outerHTML.slice(0, 60), behind.join(), value.toFixed(2)]);
    }
  }
  for (const sign of document.querySelectorAll('.j > summary .n')) {
    const style = getComputedStyle(sign, '::before');
    if (sign.checkVisibility() && ratio(parse(style.color), parse(style.backgroundColor)) < 4.5)
      found.push(['sign', sign.textContent, style.color, style.backgroundColor]);
  }
  return found;
}
"""

# Where on the whole page some elements are.
BOXES = """
what => [...document.querySelectorAll(what)].filter(one => one.checkVisibility()).map(one => {
  const {x, y, width, height} = one.getBoundingClientRect();
  return {text: one.textContent, for: one.htmlFor, box: [x, y + scrollY, width, height].map(Math.round)};
})
"""

# Of each box in a picture, its most frequent colour, and the highest contrast that another one has with that. It is
# needed where the browser says which colours a page asks for, and shows others.
COLOURS = r"""
async ([picture, boxes]) => {
  const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${picture}`)).blob());
  const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d');
  canvas.drawImage(image, 0, 0);
  const light = colour => {
    const [r, g, b] = colour.split(',').map(one => one / 255)
      .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return boxes.map(one => {
    const {data} = canvas.getImageData(...one.box);
    const count = {};
    for (let i = 0; i < data.length; i += 4) {
      const colour = `${data[i]},${data[i + 1]},${data[i + 2]}`;
      count[colour] = (count[colour] || 0) + 1;
    }
    const ground = Object.keys(count).sort((a, b) => count[b] - count[a])[0];
    const ratios = Object.keys(count).map(colour => (light(colour) + 0.05) / (light(ground) + 0.05));
    return {...one, ground, contrast: Math.max(...ratios.map(ratio => ratio < 1 ? 1 / ratio : ratio))};
  });
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; what needs it is skipped where it, or playwright, is not installed."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as running:
        # As root, which CI often is, Chromium starts without its sandbox only.
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write pages: everything that can go wrong, a green run, a crash, many journeys, one without a graph."""
    directory = tmp_path_factory.mktemp("pages")
    everything = a_bit_of_everything(tmp_path_factory.mktemp("run"))
    before = Told(directory).journey("build", seconds=0.1).journey("bundle").journey("gone").run()
    green = Told(directory)
    for number in range(7):
        green.journey(
            f"journey-{number}", requires=f"t{number - 1}" if number else "", establishes=f"t{number}"
        )
    many = Told(directory, workers=4)
    for number in range(300):
        outcome = Outcome.FAILED if number % 9 == 4 else Outcome.PASSED
        name = f"a-journey-with-quite-a-long-name-that-somebody-gave-it-{number}"
        many.journey(
            name, outcome, requires=f"t{number - 1}" if number % 6 else "", establishes=f"t{number}", steps=1
        )
    hostile = Told(directory)
    for number, text in enumerate(HOSTILE):
        hostile.journey(f"{text} {number}", Outcome.FAILED, out=text * 3, err=text, command=text, text=text)
    hostile.journey("w" * 300, Outcome.FAILED, out="w" * 3000, command="w" * 500)
    crashed = (
        Told(directory, exit_status=1)
        .journey("a")
        .journey("killer", Outcome.CRASHED, out="x")
        .journey("b", None)
    )
    runs = {
        "everything": (everything, reference_of(before)),
        "green": (green.run(), None),
        "many": (many.run(), None),
        "hostile": (hostile.run(), None),
        "crashed": (crashed.run(), None),
        "lost machine": (with_a_lost_machine(everything), None),
        "without a graph": (replace(green.run(), graph=None), None),
    }
    written = {}
    for name, (recorded, reference) in runs.items():
        written[name] = directory / f"{name}.html"
        written[name].write_text(to_html(view_of(recorded, reference), recorded.graph), encoding="utf-8")
    return written


def opened(
    browser: Any, path: Path, width: int, scheme: str, fragment: str = "", *, scripts: bool = False
) -> Any:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
    )
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{path.as_uri()}{fragment}")
    return page


def windows_of(page: Any, **media: str) -> Iterator[int]:
    """Give a page each of the windows in turn, wide and narrow, light and dark; yield their widths."""
    for width, scheme in WINDOWS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme, **media)
        yield width


NAMES = ["everything", "green", "many", "hostile", "crashed", "without a graph"]


@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_the_window_and_asks_for_nothing(browser: Any, pages: dict[str, Path], name: str) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.set_default_timeout(120_000)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[name].as_uri())
    for _ in ("as it opens", "with all that can be opened"):
        for width in windows_of(page):
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate(OPEN_ALL)
    assert said == []
    assert asked == [pages[name].as_uri()]
    page.context.close()


@pytest.mark.parametrize("name", NAMES)
def test_the_browser_finds_the_elements_that_were_written_and_no_others(
    browser: Any, pages: dict[str, Path], name: str
) -> None:
    page = opened(browser, pages[name], 1280, "light")
    tags = page.evaluate("[...document.querySelectorAll('*')].map(one => one.localName)")
    written = [tag for tag, _ in Parsed(pages[name].read_text(encoding="utf-8")).elements]
    assert tags == written
    assert not {"script", "img", "iframe", "object", "embed", "link", "base", "form"} & set(tags)
    page.context.close()


@pytest.mark.parametrize("name", ["everything", "green", "crashed", "hostile"])
def test_every_text_can_be_read_against_what_is_behind_it(
    browser: Any, pages: dict[str, Path], name: str
) -> None:
    page = opened(browser, pages[name], 1280, "light", scripts=True)
    page.evaluate(OPEN_ALL)
    for _ in windows_of(page):
        assert page.evaluate(CONTRAST) == []
    page.context.close()


def test_verdict_and_filters_can_be_read_in_the_colours_that_a_system_forces(
    browser: Any, pages: dict[str, Path]
) -> None:
    page = opened(browser, pages["everything"], 1280, "light")
    decoder = browser.new_page()
    for width in windows_of(page, forced_colors="active"):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate("scrollTo(0, 0)")  # what sticks to the window covers nothing there
        boxes = page.evaluate(BOXES, "h1, .tiles a, .cause h3 .s, .cause h3 bdi, .filter label, .dots .c, .n")
        picture = base64.b64encode(page.screenshot(full_page=True)).decode()
        colours = decoder.evaluate(COLOURS, [picture, boxes])
        assert [one for one in colours if one["contrast"] < 4.5] == []
        filters = {one["for"]: one["ground"] for one in colours if one["for"]}
        chosen = filters.pop("f-all")
        assert len(filters) >= 4
        assert chosen not in filters.values()
    decoder.close()
    page.context.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["bundle", "killer", "test_plain.py::test_sum", "build"])
def test_a_click_on_a_bar_opens_its_journey(
    browser: Any, pages: dict[str, Path], width: int, name: str
) -> None:
    page = opened(browser, pages["everything"], width, "light")
    bar = page.locator(".b", has_text=f"{name}, ").first
    target = bar.get_attribute("href")
    assert not page.locator(target).is_visible()
    bar.click(force=True)
    assert page.url.endswith(target)
    assert page.locator(target).is_visible()
    assert page.locator(target).evaluate("one => one.getBoundingClientRect().top") < 900
    page.context.close()


def test_a_bar_opens_a_journey_that_a_filter_hides(browser: Any, pages: dict[str, Path]) -> None:
    page = opened(browser, pages["everything"], 1280, "light")
    page.locator("label[for=f-failed]").click()
    page.locator(".b.passed").first.click(force=True)
    assert page.locator("#j-build").is_visible()
    page.context.close()


@pytest.mark.parametrize("fragment", ["#j-clone", "#c-bundle", "#t-built", "#o-test-plain-py-test-sum"])
def test_a_fragment_opens_what_it_lies_in(browser: Any, pages: dict[str, Path], fragment: str) -> None:
    page = opened(browser, pages["everything"], 1280, "light", fragment)
    assert page.locator(fragment).is_visible()
    page.context.close()


def test_a_fragment_opens_one_of_many_root_causes_and_one_of_many_tokens(
    browser: Any, pages: dict[str, Path]
) -> None:
    links = [
        one
        for one in Parsed(pages["many"].read_text(encoding="utf-8")).values("id")
        if one[:2] in {"c-", "t-"}
    ]
    for fragment in (links[20], links[-1]):
        page = opened(browser, pages["many"], 1280, "light", f"#{fragment}")
        assert page.locator(f"#{fragment}").is_visible()
        page.context.close()


@pytest.mark.parametrize("name", ["everything", "many"])
def test_each_filter_shows_its_rows_and_no_others(browser: Any, pages: dict[str, Path], name: str) -> None:
    page = opened(browser, pages[name], 1280, "light")
    labels = page.locator(".filter label").all()
    assert len(labels) >= 4
    for label in labels[1:]:
        kind, number = label.get_attribute("for").removeprefix("f-"), int(label.inner_text().split()[-1])
        label.click()
        visible = page.locator(".j:visible").evaluate_all("all => all.map(one => one.className)")
        kinds = {one.removeprefix("j ") for one in visible}
        assert len(visible) == number
        assert kinds == {kind} if kind != "bad" else "passed" not in kinds
    labels[0].click()
    assert page.locator(".j:visible").count() <= int(labels[0].inner_text().split()[-1])
    page.context.close()


def test_a_filter_is_reached_by_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    page = opened(browser, pages["everything"], 1280, "light")
    page.locator("#f-all").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#f-bad").is_checked()
    assert page.locator("label[for=f-bad]").evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    page.context.close()


def test_a_bar_that_is_too_small_for_its_name_shows_it_when_it_has_the_focus(
    browser: Any, pages: dict[str, Path]
) -> None:
    page = opened(browser, pages["many"], 1280, "light")
    bar = page.locator(".b.tiny").first
    assert bar.locator("span").evaluate("one => getComputedStyle(one).fontSize") == "0px"
    bar.hover(force=True)
    assert bar.locator("span").evaluate("one => getComputedStyle(one).fontSize") == "11px"
    page.context.close()


def test_a_failure_of_a_moment_is_wide_enough_to_be_seen(browser: Any, pages: dict[str, Path]) -> None:
    page = opened(browser, pages["everything"], 390, "light")
    widths = page.locator(".b.failed, .b.error").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().width)"
    )
    assert min(widths) >= 9
    page.context.close()


def test_what_is_printed_is_opened(browser: Any, pages: dict[str, Path]) -> None:
    page = opened(browser, pages["green"], 1280, "light")
    assert not page.locator("#j-journey-3").is_visible()
    page.emulate_media(media="print")
    assert page.locator("#j-journey-3").is_visible()
    assert not page.locator("nav").is_visible()
    page.context.close()


def test_paper_is_white_and_shows_the_grounds_that_tell_outcomes(
    browser: Any, pages: dict[str, Path]
) -> None:
    page = opened(browser, pages["everything"], 1280, "dark", scripts=True)
    page.emulate_media(media="print")
    assert (
        page.locator("body").evaluate("one => getComputedStyle(one).backgroundColor") == "rgb(255, 255, 255)"
    )
    assert (
        page.locator(".g-paper").first.evaluate("one => getComputedStyle(one).fill") == "rgb(255, 255, 255)"
    )
    kept = page.locator(".b, .k, .s, .c, .tiles a").evaluate_all(
        "all => [...new Set(all.map(one => getComputedStyle(one).printColorAdjust))]"
    )
    assert kept == ["exact"]
    assert page.evaluate(CONTRAST) == []
    page.context.close()


def test_without_any_style_the_text_reads_in_order(
    browser: Any, pages: dict[str, Path], tmp_path: Path
) -> None:
    """Jenkins, by default, serves pages with a policy under which no style counts."""
    text = pages["everything"].read_text(encoding="utf-8")
    bare = tmp_path / "bare.html"
    bare.write_text(text.replace("style-src 'unsafe-inline'", "style-src 'none'"), encoding="utf-8")
    page = opened(browser, bare, 1280, "light")
    seen = page.locator("body").inner_text()
    at = 0
    for words in ORDER:
        at = seen.index(words, at)
    page.context.close()
