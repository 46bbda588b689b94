"""The report of a run in headless Chromium: it loads, filters, sorts and plays, with the keyboard and on a phone."""

import contextlib
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.html_report.page_file import write_page
from experiments.pictures.overlay import overlay, upsample_attention

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[browser]'")
Error, expect = playwright.Error, playwright.expect

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",  # as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser():
    """A Chromium of the system or, where there is none, playwright's own; the tests are skipped where neither is."""
    with playwright.sync_playwright() as driver:
        found = next(filter(None, map(shutil.which, BROWSERS)), None)
        try:
            chromium = driver.chromium.launch(executable_path=found, args=FLAGS)
        except Error as error:
            if found:
                raise
            pytest.skip(f"needs one of {', '.join(BROWSERS)}: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture
def load(browser, hostile_report):
    """`load(width=390, …)` opens the report; what it says on the console, asks the network or pops up is a fault."""
    faults = []
    with contextlib.ExitStack() as opened:

        def load(path=hostile_report.path, width=1280, height=900, **options):
            context = browser.new_context(viewport={"width": width, "height": height}, **options)
            opened.callback(context.close)
            page = context.new_page()
            page.on("console", lambda message: faults.append(f"console: {message.text}"))
            page.on("pageerror", lambda error: faults.append(f"error: {error}"))
            page.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
            page.on("request", lambda request: faults.append(request.url) if not local(request.url) else None)
            page.set_default_timeout(5000)
            page.goto(path.as_uri())
            return page

        yield load
    assert faults == []


def local(url):
    return url.startswith(("file:", "data:"))


def names(page):
    return page.locator(".card h3").all_text_contents()


def ranked(clips, **wanted):
    """Names of the clips that are so, the most confident first."""
    found = [clip for clip in clips if all(clip[key] == value for key, value in wanted.items())]
    return [clip["name"] for clip in sorted(found, key=lambda clip: (-max(clip["probabilities"]), clip["name"]))]


def frame(page, card=0):
    return page.locator(".card input[type=range]").nth(card).input_value()


def pixels(page):
    """The picture of the first card, once its frames are decoded."""
    return page.evaluate(
        """async () => {
            const [clip] = gallery.shown;
            clip.card.scrollIntoView();
            while (!clip.picture && !clip.data.missing) await new Promise((resume) => setTimeout(resume, 20));
            clip.paint();
            return clip.canvas.toDataURL();
        }"""
    )


def test_everything_of_the_run_is_there_as_text(load, hostile_report):
    page = load(reduced_motion="reduce")
    contents = hostile_report.contents
    assert page.title() == "small: test clips – attention_ar"
    accuracy = contents["scores"]["accuracy"]
    assert page.locator(".tile.first").inner_text().split("\n")[:2] == ["Accuracy", f"{100 * accuracy:.1f} %"]
    assert page.locator("#confusion tbody th").all_text_contents() == contents["classes"]
    counts = page.locator("#confusion tbody td").all_text_contents()
    assert [int(count) for count in counts] == [count for row in contents["confusion"] for count in row]
    assert page.locator("#classes tbody th").all_text_contents() == contents["classes"]
    assert page.locator("#calibration figcaption").all_text_contents() == [
        "Reliability",
        "Accuracy against coverage",
        "What --reject_below costs and gives",
    ]
    coverage = contents["calibration"]["coverage"]
    assert page.locator("#coverage tbody tr").count() == len(coverage)
    error = contents["calibration"]["after"]["expected_calibration_error"]
    assert f"with the temperature: error {100 * error:.1f} %" in page.locator("#calibration svg").first.get_attribute(
        "aria-label"
    )
    assert page.locator("#learning figcaption").all_text_contents() == [
        "Training loss and its parts",
        "Cross-entropy",
        "Accuracy",
    ]
    assert page.locator("#health figcaption").all_text_contents() == [
        "Entropy of the attention",
        "Movement",
        "Largest mass",
    ]
    assert "ln 9 = 2.20" in page.locator("#health figure").first.inner_text()
    assert names(page) == ranked(contents["clips"])
    assert "jump/<script>alert(2)<!--.avi" in names(page)
    assert page.locator("script:not([type])").count() == 1 and page.locator("img").count() == 0
    missing = [clip for clip in contents["clips"] if clip["missing"]]
    assert len(missing) == 1 and missing[0]["missing"] in page.locator("#gallery").inner_text()


def test_filters_and_orders(load, hostile_report):
    page = load(reduced_motion="reduce")
    clips, classes = hostile_report.contents["clips"], hostile_report.contents["classes"]
    wrong = ranked(clips, right=False)
    page.select_option("[name=right-or-wrong]", "wrong")
    assert names(page) == wrong and len(wrong) == 2
    assert page.inner_text("#count") == "2 of 6 clips"
    page.select_option("[name=order]", "least")
    assert names(page) == wrong[::-1]
    page.select_option("[name=right-or-wrong]", "right")
    page.select_option("[name=order]", "name")
    assert names(page) == sorted(ranked(clips, right=True))
    page.select_option("[name=right-or-wrong]", "")
    page.select_option("[name=class]", label=classes[0])
    assert names(page) == sorted(ranked(clips, labels=[0]))
    page.select_option("[name=class]", "")
    page.select_option("[name=taken-for]", label=classes[2])
    assert names(page) == sorted(ranked(clips, predicted=2))
    page.click("#clear")
    assert len(names(page)) == 6 and not page.is_visible("#clear")


def test_a_cell_of_the_confusion_matrix_shows_its_clips(load, hostile_report):
    page = load(reduced_motion="reduce")
    (clip, *_) = [clip for clip in hostile_report.contents["clips"] if not clip["right"]]
    row, column = clip["labels"][0], clip["predicted"]
    first = page.locator("#confusion button").first
    first.focus()
    for _ in range(row):
        page.keyboard.press("ArrowDown")
    here = page.evaluate("document.activeElement.place[1]")
    for _ in range(abs(column - here)):
        page.keyboard.press("ArrowRight" if column > here else "ArrowLeft")
    assert page.evaluate("document.activeElement.place") == [row, column]
    page.keyboard.press("Enter")
    assert names(page) == ranked(hostile_report.contents["clips"], labels=[row], predicted=column)
    assert page.locator("#confusion button[aria-pressed=true]").evaluate("button => button.place") == [row, column]
    assert page.evaluate("document.activeElement.id") == "gallery"


def test_clips_in_view_play_and_stop(load):
    page = load()
    page.locator(".card").first.scroll_into_view_if_needed()
    shown = frame(page)
    slider = page.locator(".card input").first
    expect(slider).not_to_have_value(shown)
    page.get_by_role("button", name="Pause all").click()
    stopped = frame(page)
    page.wait_for_timeout(250)
    assert frame(page) == stopped
    picture, other = pixels(page), (int(stopped) + 3) % 7
    slider.fill(str(other))
    assert pixels(page) != picture
    assert page.locator(".card .counter").first.inner_text() == f"frame {other + 1}"
    page.locator(".card").first.get_by_role("button", name="Play").click()
    expect(slider).not_to_have_value(str(other))


def test_the_keyboard_does_it_all(load, hostile_report):
    page = load(reduced_motion="reduce")
    press = page.keyboard.press
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    press("Enter")
    page.wait_for_timeout(200)
    assert frame(page) == "0"  # Who wants less motion starts it.
    press("j")
    focused = "document.activeElement.querySelector('h3')?.textContent"
    order = ranked(hostile_report.contents["clips"])
    assert page.evaluate(focused) == order[0]
    press("j")
    assert page.evaluate(focused) == order[1]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press("k")
    before = pixels(page)
    press("ArrowRight")
    press("ArrowRight")
    assert frame(page) == "2" and pixels(page) != before
    press("ArrowLeft")
    assert frame(page) == "1"
    press("End")
    assert frame(page) == "6"
    press("Home")
    assert frame(page) == "0" and pixels(page) == before
    views = []
    for key in "vvvvoo":
        press(key)
        views.append(page.input_value("[name=view]"))
    assert views == ["attention", "stretched", "plain", "beside", "plain", "beside"]
    press("[")
    assert page.input_value("[name=speed]") == "0.5"
    press("]")
    press("]")
    assert page.input_value("[name=speed]") == "2"
    press("?")
    assert page.get_by_text("next clip, previous clip").is_visible()
    press("Space")
    expect(page.locator(".card input").first).not_to_have_value("0")
    press("Space")
    stopped = frame(page)
    page.wait_for_timeout(150)
    assert frame(page) == stopped
    press("p")
    expect(page.locator(".card input").nth(1)).not_to_have_value("0")


def test_curves_are_read_off_with_keys(load, hostile_report):
    page = load(reduced_motion="reduce")
    epochs = hostile_report.contents["epochs"]
    plot = page.locator("#learning svg.plot").nth(1)
    held_out = epochs[7]["held_out"]["cross_entropy"]
    assert plot.get_attribute("aria-valuetext").startswith("epoch 8, training ")
    assert f"held out {held_out:.3g}"[:12] in plot.get_attribute("aria-valuetext")
    plot.focus()
    page.keyboard.press("Home")
    entropy = page.locator("#health svg.plot").first
    assert plot.get_attribute("aria-valuetext").startswith("epoch 1, ")
    expected = epochs[0]["held_out"]["attention"]["entropy"]
    assert entropy.get_attribute("aria-valuetext") == f"epoch 1, held out {expected:.2f}"
    page.get_by_text("All numbers as a table").click()
    assert page.locator("#learning table tbody tr").count() == 8


def test_a_phone_shows_it_without_scrolling_sideways(load):
    page = load(width=390, height=700, has_touch=True, is_mobile=True, reduced_motion="reduce")
    page.locator("details").evaluate_all("all => all.forEach((element) => { element.open = true; })")
    for width in (320, 400):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
        small = page.locator("button:visible, select:visible, .card input:visible").evaluate_all(
            "found => found.filter(e => e.offsetHeight < 44 || e.offsetWidth < 44).map(e => e.outerHTML)"
        )
        assert small == []
    length = page.evaluate("document.documentElement.scrollHeight")
    pixels(page)
    assert page.evaluate("document.documentElement.scrollHeight") == length  # What is decoded moves nothing.
    page.locator(".card button").first.tap()
    expect(page.locator(".card input").first).not_to_have_value("0")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (light, dark) == ("rgb(246, 247, 248)", "rgb(16, 19, 23)")


def test_many_classes_with_long_names_fit_too(load, hostile_report, tmp_path):
    contents = {**hostile_report.contents, "clips": []}
    contents["classes"] = [f"a_class_{n}_with_a_long_name_that_has_no_gap" for n in range(20)]
    contents["confusion"] = np.eye(20, dtype=int).tolist()
    contents["by_class"] = [{"videos": 1, "right": 1, "taken": 1}] * 20
    write_page(tmp_path / "many.html", contents, [])
    page = load(tmp_path / "many.html", width=320, height=700, has_touch=True, is_mobile=True)
    assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [320, 320]
    assert page.locator("#confusion tbody tr").evaluate_all("rows => Math.max(...rows.map(r => r.offsetHeight))") < 30
    assert "None of the 6 clips are here (--max_clips)" in page.locator("#gallery").inner_text()


def test_attention_is_enlarged_and_laid_over_as_in_python(load, hostile_report):
    page = load(reduced_motion="reduce")
    index = next(n for n, clip in enumerate(hostile_report.contents["clips"]) if not clip["missing"])
    got = SimpleNamespace(
        **page.evaluate(
            """async (index) => {
                const clip = gallery.clips[index];
                clip.card.scrollIntoView();
                while (!clip.picture) await new Promise((resume) => setTimeout(resume, 20));
                clip.seek(4);
                const read = (view) => {
                    clip.show(view);
                    const { width, height } = clip.canvas;
                    const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
                    copy.drawImage(clip.canvas, 0, 0);
                    return [...copy.getImageData(0, 0, width, height).data];
                };
                const { width, height } = clip.data, { spread } = clip.report;
                const cells = clip.cells(4);
                const enlarged = [...enlarge(cells, spread[height], spread[width])];
                const [plain, attention, beside] = ["plain", "attention", "beside"].map(read);
                return { cells: [...cells], enlarged, plain, attention, beside };
            }""",
            index,
        )
    )
    expected = upsample_attention(got.cells, (48, 64))
    np.testing.assert_allclose(np.reshape(got.enlarged, (48, 64)), expected, rtol=0, atol=2e-5)
    plain, attention = (np.reshape(picture, (48, 64, 4))[..., :3] for picture in (got.plain, got.attention))
    assert abs(plain[..., 0].mean() - 140) < 6  # 20 + 30 · 4
    np.testing.assert_allclose(attention, overlay(plain.astype(np.uint8), expected).astype(int), atol=2)
    beside = np.reshape(got.beside, (48, 128, 4))[..., :3]
    np.testing.assert_array_equal(beside, np.concatenate([plain, attention], axis=1))


def test_curves_of_several_labels_are_those_of_the_class_that_is_chosen(load, hostile_report, tmp_path):
    curves = [
        {
            "name": "all classes pooled",
            "roc_area": 0.75,
            "average_precision": 0.5,
            "points": [[0, 0.5, 1], [1, 1, 0.5]],
        },
        {"name": "<b>run</b>", "roc_area": 1.0, "average_precision": 1.0, "points": [[0, 1, 1], [1, 1, 0.25]]},
    ]
    contents = {**hostile_report.contents, "multi_label": True, "confusion": None, "curves": curves, "clips": []}
    contents["scores"] = contents["scores"] | {"score_name": "mean_average_precision", "mean_average_precision": 0.5}
    write_page(tmp_path / "several.html", contents, [])
    page = load(tmp_path / "several.html", width=390, height=700)
    assert page.locator("#curves figcaption").all_text_contents() == ["ROC", "Precision and recall"]
    assert page.locator("#curves svg.plot").first.get_attribute("aria-label") == "ROC; all classes pooled: area 0.750"
    page.select_option("[name=curves-of]", label="<b>run</b>")
    assert page.locator("#curves svg.plot").nth(1).get_attribute("aria-label") == (
        "Precision and recall; <b>run</b>: average precision 100.0 %"
    )
    assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]


def test_the_evidence_is_called_so(load, hostile_report, tmp_path):
    """In a run without attention: no health, and yet white over the frames."""
    contents = {**hostile_report.contents, "has_attention": False, "explain": "evidence"}
    write_page(tmp_path / "evidence.html", contents, hostile_report.pictures)
    page = load(tmp_path / "evidence.html", reduced_motion="reduce")
    assert page.locator("#health").count() == 0
    assert page.locator("#gallery-title").inner_text() == "Clips and what speaks for what they are taken for"
    assert "White is what speaks for the class that the block is taken for" in page.locator("#gallery").inner_text()
    names_of_views = page.locator("[name=view] option").all_text_contents()
    assert names_of_views == ["side by side", "evidence", "evidence, stretched", "frame"]
    page.locator("[name=view]").select_option("attention")
    assert "data:image" in pixels(page)


def test_without_attention_the_frames_play_alone(load, hostile_report, tmp_path):
    contents = {**hostile_report.contents, "has_attention": False, "explain": None, "epochs": [], "spread": {}}
    contents["scores"] = {name: value for name, value in contents["scores"].items() if name != "attention"}
    contents["clips"] = [
        {name: value for name, value in clip.items() if name not in ("attention", "low", "high")}
        for clip in contents["clips"]
    ]
    write_page(tmp_path / "plain.html", contents, hostile_report.pictures)
    page = load(tmp_path / "plain.html")
    assert page.locator("#health").count() == 0
    assert "This run has no record of its training" in page.locator("#learning").inner_text()
    assert "This model has no attention: the frames are shown as they are." in page.locator("#gallery").inner_text()
    assert not page.locator("[name=view]").is_visible()
    shown = frame(page)
    page.locator(".card").first.scroll_into_view_if_needed()
    expect(page.locator(".card input").first).not_to_have_value(shown)
