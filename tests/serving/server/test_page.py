"""The page in a browser: a conversation that is streamed, an error, a key, and nothing that a model writes is run."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not CHROMIUM, reason="needs chromium on the PATH, which is not there"),
]


@pytest.fixture
def page() -> Iterator[Any]:
    """An empty page of a headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 900, "height": 600})
        browser.close()


def say(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.keyboard.press("Enter")


def wait_for_end(page: Any, notes: int) -> None:
    page.wait_for_function(f"document.querySelectorAll('.note').length == {notes}", timeout=20_000)


def test_a_conversation(page: Any, serve: Callable, make_run: Callable) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    run = make_run(style="phi", context_length=256)
    page.goto(serve({"tiny": run}).url)
    page.wait_for_selector("#model option", state="attached")
    page.fill("#temperature", "0")
    page.fill("#tokens", "20")
    say(page, "Hi")
    wait_for_end(page, 1)
    answer = page.locator(".assistant").nth(0).text_content()
    talk = [{"role": "user", "content": "Hi"}]
    assert answer == run.chat(talk, max_new_tokens=20)
    say(page, "More")
    wait_for_end(page, 2)
    talk += [{"role": "assistant", "content": answer}, {"role": "user", "content": "More"}]
    assert page.locator(".assistant").nth(1).text_content() == run.chat(talk, max_new_tokens=20)
    assert "20 tokens" in page.locator(".note").nth(0).text_content()
    page.click("#reset")
    assert page.locator(".message").count() == 0
    say(page, "a" * 3000)
    page.wait_for_selector(".error")
    assert "this model reads at most 256: shorten it." in page.locator(".error").text_content()
    assert errors == []


def test_an_answer_comes_piece_by_piece_and_can_be_stopped(page: Any, serve: Callable, make_run: Callable) -> None:
    run = make_run("uncached", context_length=256)
    forward = run.model.forward

    def slow(tokens: Any) -> Any:
        import time

        time.sleep(0.05)
        logits = forward(tokens)
        logits[..., 128:] = -1e9  # letters only, and no end
        return logits

    run.model.forward = slow
    server = serve({"tiny": run})
    page.goto(server.url)
    page.wait_for_selector("#model option", state="attached")
    say(page, "Hi")
    lengths = set()
    for _ in range(20):
        page.wait_for_timeout(60)
        lengths.add(len(page.locator(".assistant").text_content()))
    assert len(lengths) > 4
    page.click("#send")  # which is Stop now
    page.wait_for_function("document.getElementById('send').textContent == 'Send'")
    page.wait_for_timeout(300)
    assert server.worker.listeners == {}
    assert page.locator(".error").count() == 0


def test_what_a_model_writes_is_text(page: Any, serve: Callable, make_run: Callable) -> None:
    run = make_run(context_length=256)
    run.tokenizer.decode = lambda ids: "<img src=x onerror=\"document.title='run'\">" if ids else ""
    page.goto(serve({"<b>tiny</b>": run}).url)
    page.wait_for_selector("#model option", state="attached")
    page.fill("#tokens", "1")
    say(page, "<b>Hi</b>")
    wait_for_end(page, 1)
    assert page.locator("main img").count() == page.locator("main b").count() == 0
    assert page.title() == "seqlab"


def test_a_key_is_asked_for(page: Any, serve: Callable) -> None:
    page.goto(serve(key="secret").url)
    page.wait_for_selector("#key", state="visible")
    page.fill("#key", "secret")
    page.keyboard.press("Tab")
    page.wait_for_selector("#model option", state="attached")
    page.fill("#tokens", "3")
    say(page, "Hi")
    wait_for_end(page, 1)


def test_a_new_conversation_forgets_an_answer_that_was_on_its_way(
    page: Any, serve: Callable, make_run: Callable
) -> None:
    run = make_run(context_length=256)
    page.goto(serve({"tiny": run}).url)
    page.wait_for_selector("#model option", state="attached")
    page.fill("#temperature", "0")
    page.fill("#tokens", "1000")
    say(page, "Hi")
    page.wait_for_function("document.querySelector('.assistant').textContent.length > 5")
    page.click("#reset")
    page.wait_for_function("document.getElementById('send').textContent == 'Send'")
    page.fill("#tokens", "9")
    say(page, "More")
    wait_for_end(page, 1)
    expected = run.chat([{"role": "user", "content": "More"}], max_new_tokens=9)
    assert page.locator(".assistant").text_content() == expected
