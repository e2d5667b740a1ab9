"""The page: everything in it comes from the manifest and the matrix, and it loads nothing."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element

import html5lib
import pytest
from packaging.version import Version
from publish_samples import HOSTING, MATRIX
from test_publish_manifest import REBUILT, RETIRED, WHEEL

from ci.publish.generated import generate, stored
from ci.publish.hosting import NOWHERE
from ci.publish.manifest import PROJECT, LambdaRuntime, Manifest, NumPy, State, Wheel
from ci.publish.page import page
from ci.publish.versions import OLDER

ROOT = Path(__file__).parent.parent.parent
CP38 = replace(
    WHEEL,
    file=WHEEL.file.replace("cp312", "cp38"),
    target="tf2.14.1-cp38-x86_64",
    python="3.8",
    numpy=NumPy(floor="1.19.0", below="1.25"),
    runtime=LambdaRuntime(
        name="python3.8", os="Amazon Linux 2", glibc="2.26", deprecated="2024-10-14"
    ),
)
RECOMMENDED = replace(
    WHEEL,
    file=WHEEL.file.replace("2.14.1", MATRIX.recommended.version),
    target=f"tf{MATRIX.recommended.version}-cp312-x86_64",
    tensorflow=MATRIX.recommended.version,
)
OLD = replace(
    WHEEL,
    file=WHEEL.file.replace("2.14.1", "2.5.0"),
    target="tf2.5.0-cp312-x86_64",
    tensorflow="2.5.0",
)
ARM = replace(
    WHEEL,
    file=WHEEL.file.replace("x86_64", "aarch64"),
    target="tf2.14.1-cp312-aarch64",
    arch="aarch64",
    verified=False,
)
YANKED = replace(
    WHEEL,
    file=WHEEL.file.replace("2.14.1", "2.15.1"),
    target="tf2.15.1-cp312-x86_64",
    tensorflow="2.15.1",
    state=State.YANKED,
    reason="crashes at night",
)
REMOVED = replace(
    WHEEL,
    file=WHEEL.file.replace("cp312", "cp39"),
    target="tf2.14.1-cp39-x86_64",
    python="3.9",
    state=State.REMOVED,
    reason="wrong licence",
)
HOSTILE = """"'><img src=x onerror=alert(1)></script></style><!--{{ 7 * 7 }}&amp;"""


def manifest(*wheels: Wheel) -> Manifest:
    return Manifest().with_wheels(wheels)


SAMPLE = manifest(CP38, RETIRED, REBUILT, ARM, YANKED, REMOVED)


def parse(data: bytes) -> Element:
    """Parse the document; raise if a browser would have to guess."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    document: Element = parser.parse(data.decode())
    return document


def document(of: Manifest = SAMPLE) -> Element:
    return parse(page(of, MATRIX, HOSTING))


def text(element: Element | None) -> str:
    assert element is not None
    return "".join(element.itertext())


def by_id(root: Element, identifier: str) -> Element:
    (found,) = root.findall(f".//*[@id='{identifier}']")
    return found


def articles(root: Element) -> dict[str, Element]:
    return {found.attrib["id"]: found for found in root.findall(".//article[@class='wheel']")}


def test_every_current_wheel_has_its_lines() -> None:
    root = document()
    assert list(articles(root)) == [wheel.target for wheel in SAMPLE.current]
    for wheel in SAMPLE.current:
        line = f"pip install --no-deps {HOSTING.raw_url(wheel.file)}#sha256={wheel.sha256}"
        assert text(by_id(root, f"{wheel.target}-pip")) == line
        dockerfile = text(by_id(root, f"{wheel.target}-dockerfile")).splitlines()
        assert f"FROM public.ecr.aws/lambda/python:{wheel.python}" in dockerfile
        assert f'RUN pip install "{wheel.numpy.requirement}"' in dockerfile
        assert f"RUN {line}" in dockerfile
        layer = text(by_id(root, f"{wheel.target}-layer"))
        assert f"ContentUri: dist/layers/layer-{wheel.target}.zip\n" in layer
        assert f"Runtime: {wheel.runtime.name}\n" in layer


def test_every_current_wheel_has_its_facts() -> None:
    root = document()
    for wheel in SAMPLE.current:
        article = articles(root)[wheel.target]
        facts = text(article.find("dl"))
        for fact in (
            wheel.file,
            f"{wheel.size / 1e6:.2f} MB",
            f"{wheel.glibc} or newer; the runtime has {wheel.runtime.glibc}",
            wheel.numpy.requirement,
            f"{wheel.runtime.name}, on {wheel.runtime.os}",
            f"passed {wheel.audit_checks} checks",
            f"passed {wheel.smoke[0].checks} checks",
            "88% of digits-int8",
            wheel.sha256,
        ):
            assert fact in facts
        end = article.find(".//time")
        assert end is not None
        assert end.attrib["datetime"] == end.text == wheel.runtime.deprecated
        state = "verified" if wheel.verified else "declared"
        assert text(article.find("h3")).endswith(state)


def test_aws_and_docker_call_arm64_otherwise_than_wheels_do() -> None:
    root = document()
    assert "--platform linux/arm64 " in text(by_id(root, f"{ARM.target}-dockerfile"))
    assert "Architectures: [arm64]\n" in text(by_id(root, f"{ARM.target}-layer"))
    assert "--platform linux/amd64 " in text(by_id(root, f"{CP38.target}-dockerfile"))
    assert "Architectures: [x86_64]\n" in text(by_id(root, f"{CP38.target}-layer"))


def test_the_table_has_current_and_yanked_wheels_alone() -> None:
    data = page(SAMPLE, MATRIX, HOSTING).decode()
    assert RETIRED.file not in data
    assert REMOVED.file not in data
    table = parse(data.encode()).find(".//section[@aria-labelledby='all']//tbody")
    assert table is not None
    rows = [text(row) for row in table]
    assert [link.attrib["title"] for link in table.iter("a")] == [
        wheel.file for wheel in (ARM, CP38, REBUILT, YANKED)
    ]
    assert ["yanked crashes at night" in row for row in rows] == [False, False, False, True]
    assert YANKED.target not in articles(document())


def test_every_target_can_be_chosen_and_is_in_the_grid() -> None:
    root = document()
    choices = {
        name: [found.attrib["value"] for found in root.findall(f".//input[@name='{name}']")]
        for name in ("tensorflow", "python", "arch")
    }
    possible = {
        f"tf{tensorflow}-{python}-{arch}"
        for tensorflow in choices["tensorflow"]
        for python in choices["python"]
        for arch in choices["arch"]
    }
    assert possible == {target.identifier for target in MATRIX.targets()}
    cells = [text(cell) for cell in root.findall(".//table[@class='grid']//td")]
    assert len(cells) == len(possible)
    assert sum("verified" in cell for cell in cells) == 2
    assert sum("published" in cell for cell in cells) == 1
    assert sum("declared" in cell for cell in cells) == len(possible) - 3


def first(of: Manifest) -> list[str]:
    chosen = document(of).findall(".//input[@checked]")
    return [found.attrib["value"] for found in chosen]


def test_what_is_chosen_at_first() -> None:
    assert first(SAMPLE) == ["cp312", "x86_64", "2.14.1"]
    assert first(manifest(ARM)) == ["cp312", "aarch64", "2.14.1"]
    assert first(manifest(CP38, replace(WHEEL, verified=False))) == ["cp38", "x86_64", "2.14.1"]
    unreleased = replace(WHEEL, runtime=replace(WHEEL.runtime, deprecated=None))
    assert first(manifest(CP38, unreleased)) == ["cp38", "x86_64", "2.14.1"]
    early = replace(WHEEL, tensorflow="2.99.0.dev1", target="tf2.99.0.dev1-cp312-x86_64", file="x")
    assert first(manifest(CP38, early)) == ["cp38", "x86_64", "2.14.1"]
    assert first(manifest(early)) == ["cp312", "x86_64", "2.99.0.dev1"]
    assert first(Manifest())[2] == MATRIX.recommended.version
    assert first(manifest(CP38, early, RECOMMENDED)) == ["cp312", "x86_64", RECOMMENDED.tensorflow]


def test_what_each_version_is_is_said_once_and_at_its_wheels() -> None:
    of = manifest(OLD, replace(RECOMMENDED, substituted={"ruy": "6ffa93a for 3286a34"}))
    root = document(of)
    told = text(root.find(".//section[@aria-labelledby='versions']"))
    assert told.index(RECOMMENDED.tensorflow) < told.index(OLD.tensorflow)
    assert f"{MATRIX.recommended.version} recommended{MATRIX.recommended.about}." in told
    assert "Not what it pins, but substituted: ruy (6ffa93a for 3286a34)." in told
    ours, other = (text(articles(root)[w.target]) for w in (RECOMMENDED, OLD))
    assert f"{MATRIX.recommended.about}. {OLDER}" in ours
    assert "ruy (6ffa93a for 3286a34)" in ours
    # A wheel from before that was recorded.
    assert "Components" not in other
    assert "recommended" not in other


def test_the_indexs_line_asks_for_the_recommended_version() -> None:
    line = document(manifest(OLD, RECOMMENDED)).find(".//code[@id='index-line']")
    version = MATRIX.recommended.version
    wanted = f"{PROJECT}=={version}" if Version(version).is_prerelease else PROJECT
    assert text(line).endswith(f"simple/ {wanted}")
    assert text(document(manifest(OLD)).find(".//code[@id='index-line']")).endswith(PROJECT)


def test_a_wheel_whose_row_the_matrix_lost_stays() -> None:
    old = replace(
        CP38,
        file=CP38.file.replace("2.14.1", "2.5.0").replace("cp38", "cp37"),
        target="tf2.5.0-cp37-x86_64",
        tensorflow="2.5.0",
        python="3.7",
        runtime=replace(CP38.runtime, name="python3.7"),
    )
    root = document(manifest(old, WHEEL))
    assert old.target in articles(root)
    assert root.findall(".//input[@name='python']")[0].attrib["value"] == "cp37"
    assert root.find(f".//table[@class='grid']//a[@href='#{old.target}']") is not None


def test_nothing_published_is_a_page_too() -> None:
    root = document(Manifest())
    assert articles(root) == {}
    assert "None is published yet" in text(root)
    assert by_id(root, "declared").find("h3") is not None


@pytest.mark.parametrize("of", [SAMPLE, Manifest()], ids=["some", "none"])
def test_what_refers_finds(of: Manifest) -> None:
    root = document(of)
    ids = [found.attrib["id"] for found in root.iter() if "id" in found.attrib]
    assert len(set(ids)) == len(ids)
    named = [
        found.attrib[attribute]
        for found in root.iter()
        for attribute in ("aria-labelledby", "data-copies")
        if attribute in found.attrib
    ]
    links = [found.attrib["href"] for found in root.iter("a")]
    named += [link[1:] for link in links if link.startswith("#")]
    assert set(named) <= set(ids)
    files = {*generate(of, HOSTING), *stored(of), "simple/"}
    for link in links:
        if not link.startswith("#") and not urlsplit(link).scheme:
            assert unquote(link) in files, link


def test_it_loads_nothing() -> None:
    root = document()
    for found in root.iter():
        assert not {"src", "srcset", "data", "action", "style", "background"} & set(found.attrib)
        assert not any(name.startswith("on") for name in found.attrib)
    links = {found.attrib["rel"]: found.attrib["href"] for found in root.iter("link")}
    assert links == {"canonical": HOSTING.pages, "icon": "data:,"}
    (style,) = root.iter("style")
    assert not re.search(r"url\(|@import|image-set", text(style))
    (script,) = (found for found in root.iter("script") if "type" not in found.attrib)
    requests = r"fetch\(|XMLHttp|WebSocket|EventSource|sendBeacon|import\(|\bImage\b"
    assert not re.search(requests, text(script))


def test_without_a_host_the_lines_install_from_a_clone() -> None:
    root = parse(page(SAMPLE, MATRIX, NOWHERE))
    for wheel in SAMPLE.current:
        assert text(by_id(root, f"{wheel.target}-pip")) == (
            f"pip install --no-deps wheels/{wheel.file}"
        )
        dockerfile = text(by_id(root, f"{wheel.target}-dockerfile")).splitlines()
        assert f"ADD wheels/{wheel.file} /tmp/" in dockerfile
        pinned = f"file:///tmp/{wheel.file}#sha256={wheel.sha256}"
        assert f"RUN pip install --no-deps {pinned}" in dockerfile
    files = {*generate(SAMPLE, NOWHERE), *stored(SAMPLE), "simple/"}
    links = [found.attrib["href"] for found in root.iter("a")]
    assert all(link.startswith("#") or unquote(link) in files for link in links)
    assert [found.attrib["rel"] for found in root.iter("link")] == ["icon"]
    (data,) = root.findall(".//script[@type='application/ld+json']")
    assert "url" not in json.loads(text(data))
    assert "localhost:8000/simple/" in text(by_id(root, "index-line"))


def test_its_policy_allows_its_own_style_and_script_alone() -> None:
    root = document()
    (policy,) = root.findall(".//meta[@http-equiv='Content-Security-Policy']")
    directives = dict(
        directive.strip().split(" ", 1) for directive in policy.attrib["content"].split(";")
    )
    (style,) = root.iter("style")
    (script,) = (found for found in root.iter("script") if "type" not in found.attrib)

    def digest(element: Element) -> str:
        sha256 = hashlib.sha256(text(element).encode()).digest()
        return f"'sha256-{base64.b64encode(sha256).decode()}'"

    assert directives == {
        "default-src": "'none'",
        "style-src": digest(style),
        "script-src": digest(script),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_hostile_data_stays_text() -> None:
    runtime = replace(WHEEL.runtime, os=HOSTILE)
    bad = replace(
        WHEEL,
        file=f"tflite_runtime-{HOSTILE.replace('/', '')}.whl",
        python="9.9",
        tensorflow="9.9.9",
        target="tf9.9.9-cp99-x86_64",
        runtime=runtime,
        smoke=(replace(WHEEL.smoke[0], place=HOSTILE, xnnpack={HOSTILE: 0.5}),),
    )
    gone = replace(YANKED, reason=HOSTILE)
    hosting = replace(HOSTING, repository=f"https://git.example/{HOSTILE}")
    root = parse(page(manifest(bad, gone), MATRIX, hosting))
    good = document(manifest(WHEEL, YANKED))
    for name in ("img", "script", "style", "meta", "link", "article"):
        assert len(list(root.iter(name))) == len(list(good.iter(name)))
    for found in root.iter():
        assert not any(name.startswith("on") for name in found.attrib)
    assert text(root).count(HOSTILE) >= 5
    (data,) = root.findall(".//script[@type='application/ld+json']")
    assert HOSTILE in json.loads(text(data))["operatingSystem"]


@pytest.mark.usefixtures("allow_subprocess")
def test_the_same_bytes_in_another_process() -> None:
    code = """if True:
        import sys
        from builders.matrix import load_matrix
        from ci.publish.hosting import Hosting
        from ci.publish.manifest import decode
        from ci.publish.page import page
        manifest = decode(sys.stdin.buffer.read())
        hosting = Hosting(**dict(argument.split("=") for argument in sys.argv[1:]))
        sys.stdout.buffer.write(page(manifest, load_matrix(), hosting))
    """
    addresses = [f"{name}={value}" for name, value in dataclasses.asdict(HOSTING).items()]
    # Another order of every set.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"}
    found = subprocess.run(
        [sys.executable, "-c", code, *addresses],
        input=SAMPLE.encode(),
        env=environment,
        capture_output=True,
        check=True,
    ).stdout
    assert found == page(SAMPLE, MATRIX, HOSTING)


def test_what_search_engines_read() -> None:
    root = document()
    title = text(root.find("head/title"))
    assert "tflite_runtime" in title
    assert "AWS Lambda" in title
    assert "2.14.1" in title
    (description,) = root.findall(".//meta[@name='description']")
    for word in ("2.14.1", "3.8, 3.12", "x86_64", "arm64"):
        assert word in description.attrib["content"]
    (data,) = root.findall(".//script[@type='application/ld+json']")
    found = json.loads(text(data))
    assert found["softwareVersion"] == "2.14.1"
    assert found["url"] == HOSTING.pages


def test_what_screen_readers_read() -> None:
    root = document()
    html = root if root.tag == "html" else root.find("html")
    assert html is not None
    assert html.attrib["lang"] == "en"
    levels = [int(found.tag[1]) for found in root.iter() if re.fullmatch("h[1-6]", str(found.tag))]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for table in root.iter("table"):
        assert table[0].tag == "caption"
        assert all(found.attrib["scope"] in ("row", "col") for found in table.iter("th"))
    labelled = [found for label in root.iter("label") for found in label.iter("input")]
    assert labelled == list(root.iter("input"))
    assert all(found.find("legend") is not None for found in root.iter("fieldset"))
    assert by_id(root, "status").attrib["role"] == "status"
    assert all(found.attrib["type"] == "button" for found in root.iter("button"))
