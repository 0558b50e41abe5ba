"""The page of all figures in a browser, wide and narrow: every picture is shown, and there are no errors."""

import json
import re
import shutil
import subprocess

import numpy as np
from PIL import Image
import pytest

from experiments.figures import gallery
from experiments.figures.engine import make

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: as root, apt-get install chromium")

# Runs in the page once its pictures are loaded; the answer is read back from the DOM.
PROBE = """<script>
const errors = [];
addEventListener("error", event => errors.push(event.message || event.target.src), true);
addEventListener("load", () => {
  const images = [...document.images];
  images.forEach(image => image.loading = "eager");
  Promise.all(images.map(image => image.decode().catch(() => errors.push(image.src)))).then(() => {
    const answer = { errors: errors.length, images: images.filter(image => image.naturalWidth > 0).length,
                     over: document.documentElement.scrollWidth - document.documentElement.clientWidth };
    document.body.dataset.answer = Object.entries(answer).map(([k, v]) => k + " " + v).join(", ");
  });
});
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "names", lambda: ["krr", "weight_sharing", "sinusoid_positions"])
        for name in ("weight_sharing", "sinusoid_positions"):
            record = make(name, folder)
        long = {"name": "the largest difference of all that there are " * 3, "measured": 1.23456e-15, "passed": True}
        record["criteria"].append(long | {"expected": "at most 1e-13"})
        (folder / f"{name}.json").write_text(json.dumps(record))
        return gallery.write_page(folder)


def browse(page, tmp_path, *options: str) -> str:
    profile = f"--user-data-dir={tmp_path}/profile"
    quiet = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    headless = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-sync", *quiet]
    line = [str(CHROMIUM), *headless, "--virtual-time-budget=8000", "--enable-logging=stderr", profile, *options]
    process = subprocess.run([*line, page.as_uri()], capture_output=True, text=True, timeout=120)
    assert process.returncode == 0 and "CONSOLE" not in process.stderr, process.stderr[-2000:]
    return process.stdout


@pytest.mark.parametrize("width", [1280, 420])
def test_the_page_fits_and_shows_every_picture(page, tmp_path, width):
    probed = page.with_name(f"probed_{width}.html")
    probed.write_text(page.read_text(encoding="utf-8").replace("<h1>", f"{PROBE}<h1>", 1), encoding="utf-8")
    document = browse(probed, tmp_path, "--dump-dom", f"--window-size={width},900")
    answer = re.search(r'data-answer="([^"]*)"', document)
    assert answer and answer[1] == "errors 0, images 2, over 0"


def test_the_page_is_drawn(page, tmp_path):
    browse(page, tmp_path, f"--screenshot={tmp_path}/page.png", "--window-size=500,900")
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("L"))
    assert pixels.shape == (900, 500) and len(np.unique(pixels)) > 20
