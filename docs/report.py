"""Take the picture of a report that the README shows, in the Chromium of this system.

Usage: python docs/report.py demo/report/report.html
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1180, 920


def main(page_file: Path) -> None:
    """Open the page, wait for its first figure, and save its head."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=["--no-sandbox"],
        )
        try:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(page_file.resolve().as_uri())
            page.wait_for_selector(".js-plotly-plot svg", timeout=10_000)
            page.wait_for_timeout(500)
            page.screenshot(path=Path(__file__).with_name("report.png"))
        finally:
            browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
