"""The page of published wheels in a real browser, headless, from a web server on this machine.

The wheels of the main job ($TFLITE_WHEELS) are published into a folder, as
./scripts/publish does it.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from axe_core_python.selenium import Axe
from publish_samples import HOSTING
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait
from support import records, wheels_folder
from test_publish_clients import Environment, client, serving

from builders.matrix import load_matrix
from ci.publish.documents import BEGIN, END
from ci.publish.manifest import Manifest, State, Wheel, read_manifest
from ci.publish.publisher import Decision, Publisher

pytestmark = pytest.mark.integration

# No display, no sandbox (which needs privileges that CI lacks), and no requests of its own.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,900",
)
PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
SECONDS = 10


class Page:
    """The page in a browser, with actions on it."""

    def __init__(self, driver: webdriver.Chrome, address: str, manifest: Manifest) -> None:
        self.driver = driver
        self.address = address
        self.manifest = manifest

    @property
    def newest(self) -> Wheel:
        """The wheel that is shown first: that of the newest runtime that AWS has released."""
        return [wheel for wheel in self.manifest.current if wheel.runtime.deprecated][-1]

    def open(self, fragment: str = "") -> None:
        """Load the page anew, without the browser's cache."""
        self.driver.get("about:blank")
        self.command("Network.clearBrowserCache")
        self.driver.get(self.address + fragment)

    def command(self, name: str, **parameters: object) -> None:
        """Send a command of the browser's own protocol."""
        self.driver.execute_cdp_cmd(name, parameters)

    def script(self, code: str) -> Any:  # noqa: ANN401 (whatever that is)
        """Return the value of an expression in the page."""
        return self.driver.execute_script(f"return {code}")

    def shown(self) -> list[str]:
        """Return the ids of the shown wheels: the target, or `declared` if it is not published."""
        found = self.driver.find_elements(By.CSS_SELECTOR, "article")
        return [str(article.get_attribute("id")) for article in found if article.is_displayed()]

    def choose(self, name: str, value: str) -> None:
        """Click a radio button."""
        selector = f"input[name={name}][value='{value}']"
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def status(self) -> str:
        """Wait for a message to screen readers, and return it."""
        status = self.driver.find_element(By.ID, "status")
        WebDriverWait(self.driver, SECONDS).until(lambda _: text(status))
        return text(status)

    def pasted(self) -> str:
        """Return the content of the clipboard, by pasting it into a text area."""
        self.script("document.body.append(document.createElement('textarea'))")
        area = self.driver.find_element(By.TAG_NAME, "textarea")
        area.send_keys(Keys.CONTROL, "v")
        found = str(area.get_property("value"))
        self.script("document.querySelector('textarea').remove()")
        return found

    def press(self, *keys: str) -> WebElement:
        """Press keys at the focused element; return the element that then has the focus."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)
        return self.driver.switch_to.active_element

    def violations(self) -> list[str]:
        """Return the violations that axe finds in the shown page."""
        found = Axe().run(self.driver)
        assert found["passes"], "axe checked nothing"
        return [
            f"{rule['id']}: {node['html']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]

    def requests(self) -> list[str]:
        """Return the addresses that the browser requested since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """Return the messages of the browser's console: script errors and policy violations."""
        return [str(entry["message"]) for entry in self._log("browser")]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return found


def text(element: WebElement) -> str:
    """Return all of an element's text, visible or not."""
    return str(element.get_property("textContent"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Publish the main job's wheels into a folder; yank one of them if there are several."""
    root = tmp_path_factory.mktemp("page")
    readme, folder = root / "README.md", root / "wheels"
    readme.write_text(f"{BEGIN}\n{END}\n")
    folder.mkdir()
    proven = [wheels_folder() / r["wheel"] for r in records().values() if r["smoke"]]
    publisher = Publisher(folder, readme, load_matrix(), HOSTING)
    publisher.publish(publisher.plan(proven, ()))
    current = read_manifest(folder).current
    if len(current) > 1:
        yank = Decision(file=current[0].file, state=State.YANKED, reason="it crashes")
        publisher.publish(publisher.plan((), (yank,)))
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if programs[0] is None or programs[1] is None:
        pytest.skip("no Chromium with its driver: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(programs[1]))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def page(browser: webdriver.Chrome, published: Path) -> Iterator[Page]:
    with serving(published) as (address, _):
        page = Page(browser, address, read_manifest(published))
        page.command("Emulation.clearDeviceMetricsOverride")
        page.command("Emulation.setEmulatedMedia", features=[])
        page.requests()
        page.complaints()
        page.open()
        yield page
        elsewhere = [url for url in page.requests() if not url.startswith((address, "data:"))]
        assert [url for url in elsewhere if url != "about:blank"] == []
        assert page.complaints() == []
        browser.get("about:blank")


def test_the_newest_wheel_is_shown_and_its_pasted_line_installs(page: Page, tmp_path: Path) -> None:
    wheel = page.newest
    assert page.shown() == [wheel.target]
    button = page.driver.find_element(By.CSS_SELECTOR, f"[data-copies='{wheel.target}-pip']")
    assert button.accessible_name == "Copy the pip line"
    button.click()
    assert page.status() == "Copied the pip line"
    assert button.text == "Copied"
    line = page.pasted()
    assert line == f"pip install --no-deps {page.address}{wheel.file}#sha256={wheel.sha256}"

    environment = Environment(tmp_path / "environment", wheel.python)
    environment.numpy(wheel.smoke[-1].numpy)
    client(environment.python, "-m", *shlex.split(line))
    assert environment.infers()


def test_every_choice_is_followed(page: Page) -> None:
    current = {wheel.target: wheel for wheel in page.manifest.current}
    for wheel in current.values():
        page.choose("python", "cp" + wheel.python.replace(".", ""))
        assert page.shown() == [wheel.target]
        assert page.script("location.hash") == f"#{wheel.target}"
    declared = next(t for t in load_matrix().targets() if t.identifier not in current)
    page.choose("tensorflow", declared.tensorflow.version)
    page.choose("arch", declared.arch)
    page.choose("python", declared.runtime.tag)
    assert page.shown() == ["declared"]
    assert declared.runtime.os in page.driver.find_element(By.ID, "declared").text
    page.driver.find_element(By.CSS_SELECTOR, "[data-copies=declared-build]").click()
    assert page.pasted() == f"./scripts/build --only {declared.identifier}"
    dashed = page.driver.find_elements(By.CSS_SELECTOR, "label.without")
    assert dashed
    assert all("not published" in text(label) for label in dashed)


def test_an_address_names_a_choice(page: Page) -> None:
    wheel = page.manifest.current[0]
    page.open(f"#{wheel.target}")
    assert page.shown() == [wheel.target]
    page.open("#tf2.14.1-cp399-x86_64")
    assert page.shown() == [page.newest.target]
    # A link of the grid leads to its wheel, and takes the focus there.
    page.driver.find_element(By.CSS_SELECTOR, f".grid a[href='#{wheel.target}']").click()
    WebDriverWait(page.driver, SECONDS).until(lambda _: page.shown() == [wheel.target])
    assert page.driver.switch_to.active_element.get_attribute("id") == wheel.target


def test_the_keyboard_is_enough(page: Page) -> None:
    assert page.press(Keys.TAB).text == "Skip to the lines to paste"
    newest = page.newest
    chosen = page.press(Keys.TAB)
    assert chosen.get_attribute("name") == "python"
    label = chosen.find_element(By.XPATH, "..")
    assert label.value_of_css_property("outline-style") == "solid"
    before = page.press(Keys.ARROW_LEFT)
    assert before.get_attribute("checked")
    assert before.get_attribute("value") != chosen.get_attribute("value")
    assert page.shown() != [newest.target]
    assert page.press(Keys.ARROW_RIGHT) == chosen
    assert page.shown() == [newest.target]
    assert page.press(Keys.TAB).get_attribute("name") == "arch"
    assert page.press(Keys.TAB).get_attribute("name") == "tensorflow"
    button = page.press(Keys.TAB)
    assert button.get_attribute("data-copies") == f"{newest.target}-pip"
    page.press(Keys.ENTER)
    assert page.status() == "Copied the pip line"
    assert newest.file in page.pasted()


def test_without_a_clipboard_the_line_is_selected(page: Page) -> None:
    page.script("void (document.execCommand = () => false)")
    page.script("void (navigator.clipboard.writeText = () => Promise.reject(new Error('denied')))")
    wheel = page.newest
    page.driver.find_element(By.CSS_SELECTOR, f"[data-copies='{wheel.target}-pip']").click()
    assert page.status() == "Selected: press Ctrl+C to copy"
    assert page.script("String(getSelection())").startswith("pip install --no-deps ")


def luminance(colour: str) -> float:
    red, green, blue = (int(part) for part in re.findall(r"\d+", colour)[:3])
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_takes_the_systems_colours_and_axe_finds_nothing(page: Page, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.command("Emulation.setEmulatedMedia", features=[feature])
    body = page.driver.find_element(By.TAG_NAME, "body")
    back, front = (
        luminance(body.value_of_css_property(name)) for name in ("background-color", "color")
    )
    assert (back < front) is (scheme == "dark")
    assert page.violations() == []
    page.choose("arch", "aarch64")
    page.choose("tensorflow", load_matrix().tensorflows[-1].version)
    assert page.shown() == ["declared"]
    assert page.violations() == []


def test_a_phone_scrolls_one_way_only(page: Page) -> None:
    page.command("Emulation.setDeviceMetricsOverride", **PHONE)
    page.open()
    for fragment in ("", "#tf2.21.0-cp315-aarch64"):
        page.open(fragment)
        assert page.script("innerWidth") == PHONE["width"]
        assert page.script("document.documentElement.scrollWidth") == PHONE["width"]
        for element in page.driver.find_elements(By.CSS_SELECTOR, "label, button, pre"):
            if element.is_displayed():
                box = element.rect
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= PHONE["width"]
        # Fingers need room (WCAG 2.2, 2.5.8).
        heights = page.script("[...document.querySelectorAll('label')].map((l) => l.offsetHeight)")
        assert min(heights) >= 24
    assert page.violations() == []


def test_without_script_all_wheels_are_there(page: Page) -> None:
    page.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open()
        assert page.shown() == [wheel.target for wheel in page.manifest.current]
        assert not page.driver.find_element(By.ID, "chooser").is_displayed()
        assert not any(b.is_displayed() for b in page.driver.find_elements(By.TAG_NAME, "button"))
        for wheel in page.manifest.present:
            link = page.driver.find_element(By.CSS_SELECTOR, f"td a[title='{wheel.file}']")
            assert link.get_attribute("href") == page.address + wheel.file
        # Only a script knows where the page is served.
        line = page.driver.find_element(By.ID, f"{page.manifest.current[0].target}-pip").text
        assert HOSTING.raw_url(page.manifest.current[0].file) in line
    finally:
        page.command("Emulation.setScriptExecutionDisabled", value=False)


def test_days_that_have_passed_are_marked(page: Page) -> None:
    today = datetime.now(tz=UTC).date().isoformat()
    cells = page.driver.find_elements(By.CSS_SELECTOR, "table td:has(> time)")
    assert len(cells) == sum(runtime.deprecated is not None for runtime in load_matrix().runtimes)
    for cell in cells:
        day = str(cell.find_element(By.TAG_NAME, "time").get_attribute("datetime"))
        assert cell.text == (f"{day} (passed)" if day <= today else day)


def test_a_yanked_wheel_is_marked_and_not_to_be_chosen(page: Page) -> None:
    yanked = [wheel for wheel in page.manifest.present if wheel.state is State.YANKED]
    if not yanked:
        pytest.skip("one wheel only (./scripts/build makes more)")
    page.open(f"#{yanked[0].target}")
    assert page.shown() == ["declared"]
    row = page.driver.find_element(By.CSS_SELECTOR, "tr.yanked")
    assert "yanked it crashes" in row.text
    assert yanked[0].file in text(row)


def test_at_home_the_lines_have_raw_addresses(page: Page, published: Path) -> None:
    file = published / "index.html"
    original = file.read_text()
    wheel = page.newest
    line = f"pip install --no-deps {HOSTING.raw_url(wheel.file)}#sha256={wheel.sha256}"
    assert not shows(page, wheel.target, line)
    file.write_text(original.replace(str(HOSTING.pages), page.address))
    try:
        page.open()
        assert shows(page, wheel.target, line)
    finally:
        file.write_text(original)


def test_a_file_of_a_clone_has_raw_addresses(page: Page, published: Path) -> None:
    page.requests()
    page.driver.get((published / "index.html").as_uri())
    wheel = page.newest
    assert page.shown() == [wheel.target]
    line = f"pip install --no-deps {HOSTING.raw_url(wheel.file)}#sha256={wheel.sha256}"
    assert shows(page, wheel.target, line)
    page.driver.find_element(By.CSS_SELECTOR, f"[data-copies='{wheel.target}-pip']").click()
    assert page.status() == "Copied the pip line"
    assert {url.split(":")[0] for url in page.requests()} <= {"file", "data"}


def shows(page: Page, target: str, line: str) -> bool:
    """Return True if `line` is the line for pip; check that the page's hint agrees."""
    same = page.driver.find_element(By.ID, f"{target}-pip").text == line
    assert page.driver.find_element(By.ID, "elsewhere").is_displayed() is not same
    return same


def test_a_changed_page_runs_no_foreign_script(page: Page, published: Path) -> None:
    # An editor of the file, or a proxy, may insert this; the policy lists what may run.
    original = (published / "index.html").read_text()
    injected = '<script>document.title = "taken"</script><img src="//other.example/x">'
    (published / "index.html").write_text(original.replace("</main>", f"{injected}</main>"))
    try:
        page.open()
        assert page.driver.title != "taken"
        complaints = page.complaints()
        # The request is made and blocked, which also proves that other tests would see it.
        assert "http://other.example/x" in page.requests()
        assert sum("Content Security Policy" in complaint for complaint in complaints) == 2
    finally:
        (published / "index.html").write_text(original)
