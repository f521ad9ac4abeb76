"""Take the pictures of a page that README and docs show, with a headless Chromium.

python scripts/picture_report.py outputs/sweeps/DATE/report.html docs/images

The page must be that of the demonstration (`make run`): it says of itself that it says nothing
about medicine, and the pictures show that line.
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH = 1180
LARGEST = 300_000
"""Bytes of a picture."""

PICTURES = {
    "report.png": ("", "", "header", 1080),
    "report-metric.png": ("auc", "3", "section[data-matrix]", 760),
    "report-reliability.png": ("", "", "details.pictured", 560),
}
"""File -> chosen metric, chosen severity, what the picture begins with, its height in pixels."""

CHOOSE = """
<script>
addEventListener("load", function () {
  for (const part of document.querySelectorAll("details")) {
    const title = part.querySelector("summary").textContent;
    if (title === "Reliability") { part.open = true; part.classList.add("pictured"); }
  }
  for (const [id, value] of [["metric", METRIC], ["severity", SEVERITY]]) {
    const select = document.getElementById(id);
    select.value = value;
    select.dispatchEvent(new Event("change"));
  }
  document.getElementById("switches").style.position = "static";
  document.body.style.paddingBottom = "100vh";
  const place = document.querySelector(FIRST);
  document.body.style.marginTop = (8 - place.getBoundingClientRect().top) + "px";
});
</script></body>"""


def picture(browser: str, page: str, choice: tuple[str, str, str, int], target: Path) -> None:
    """Write one picture, in few colors."""
    metric, severity, first, height = choice
    script = CHOOSE.replace("METRIC", repr(metric)).replace("SEVERITY", repr(severity))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "page.html"
        copy.write_text(page.replace("</body>", script.replace("FIRST", repr(first))), "utf-8")
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--disable-background-networking", f"--user-data-dir={folder}/profile",
            f"--window-size={WIDTH},{height}", "--virtual-time-budget=5000",
            f"--screenshot={folder}/shot.png", copy.as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(f"{folder}/shot.png") as shot:
            shot.convert("RGB").quantize(192).save(target, optimize=True)


def main() -> None:
    """Take all of them; refuse a page that is no demonstration, and a picture that is too large."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path, help="report.html of a demonstration run")
    parser.add_argument("folder", type=Path, help="docs/images")
    given = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is installed: apt install chromium")
    page = given.page.read_text(encoding="utf-8")
    if "demonstration on synthetic phantoms" not in page:
        raise SystemExit(f"{given.page} is no page of the demonstration: make run writes one")
    for name, choice in PICTURES.items():
        target = given.folder / name
        picture(browser, page, choice, target)
        if target.stat().st_size > LARGEST:
            raise SystemExit(f"{target} has more than {LARGEST} bytes: make it less high")
        print(target)


if __name__ == "__main__":
    main()
