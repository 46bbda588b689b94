"""An exported model in headless Chromium, run by onnxruntime-web: the numbers that onnxruntime gets here."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from experiments.onnx_export.export import export_onnx

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[browser]'")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WEB = Path(__file__).parents[3] / "node_modules" / "onnxruntime-web" / "dist"
ORIGIN = "http://localhost:9/"  # Nothing listens there: the test answers itself.
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}

RUN = """
async (features) => {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = location.origin + "/";
  const session = await ort.InferenceSession.create("predictor.onnx", { executionProviders: ["wasm"] });
  const tensor = new ort.Tensor("float32", Float32Array.from(features.values), features.shape);
  const results = await session.run({ [session.inputNames[0]]: tensor });
  return Object.fromEntries(Object.entries(results).map(
    ([name, { data, dims }]) => [name, { values: Array.from(data), shape: dims }]));
}
"""


@pytest.fixture(scope="module")
def browser():
    """A Chromium of the system or playwright's own; the test is skipped where it, or onnxruntime-web, is absent."""
    if not WEB.is_dir():
        pytest.skip("needs onnxruntime-web: npm install --no-save onnxruntime-web, in the repository's folder")
    with playwright.sync_playwright() as driver:
        found = next(filter(None, map(shutil.which, BROWSERS)), None)
        try:
            chromium = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        except playwright.Error as error:
            if found:
                raise
            pytest.skip(f"needs one of {', '.join(BROWSERS)}: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.mark.slow
def test_a_browser_gets_the_same_numbers(browser, small_run, tmp_path):
    model = tmp_path / "predictor.onnx"
    export_onnx(small_run, model)
    x = np.random.default_rng(0).uniform(0, 3, (2, 4, 9, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, session.run(names, {"features": x}), strict=True))

    asked = []

    def answer(route):
        name = route.request.url.removeprefix(ORIGIN)
        asked.append(name)
        if name == "page.html":
            script = '<script src="ort.wasm.min.js"></script>'
            route.fulfill(body=f"<!doctype html>{script}", content_type="text/html")
        elif name == model.name:
            route.fulfill(body=model.read_bytes())
        elif (WEB / name).is_file():
            route.fulfill(body=(WEB / name).read_bytes(), content_type=TYPES[Path(name).suffix])
        else:
            route.abort()

    page = browser.new_page()
    page.route("**/*", answer)
    page.goto(f"{ORIGIN}page.html")
    features = {"values": x.ravel().tolist(), "shape": list(x.shape)}
    found = page.evaluate(RUN, features)
    page.close()
    assert model.name in asked
    assert found.keys() == expected.keys(), json.dumps(sorted(found))
    for name, array in expected.items():
        assert found[name]["shape"] == list(array.shape)
        np.testing.assert_allclose(np.reshape(found[name]["values"], array.shape), array, atol=1e-5)
