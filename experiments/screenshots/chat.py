"""The README's picture of the server's page, a conversation: python experiments/screenshots/chat.py <run or folder>"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

MESSAGES = ("What is the capital of France?", "Write one sentence about its river.")


def main(run: str) -> None:
    """Serve a run, talk with it, and save what is seen."""
    command = [sys.executable, "-m", "seqlab", "serve", f"run={run}", "port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        assert server.stdout
        url = next(found[1] for line in server.stdout if (found := re.match(r"page +(\S+)", line)))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 900, "height": 420})
        page.goto(url)
        page.wait_for_selector("#model option", state="attached")
        page.fill("#temperature", "0")
        page.fill("#tokens", "60")
        for number, message in enumerate(MESSAGES, 1):
            page.fill("#text", message)
            page.keyboard.press("Enter")
            page.wait_for_function(f"document.querySelectorAll('.note').length == {number}", timeout=60_000)
        page.screenshot(path=Path(__file__).with_name("chat.png"))
        browser.close()
        server.terminate()


if __name__ == "__main__":
    main(sys.argv[1])
