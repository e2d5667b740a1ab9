"""The real networks that wheels are tried with: networks.toml, and a corpus of them in the cache.

The models are fetched by checksum, or built with Keras and random weights. The expected answers
are those of the full TensorFlow's interpreter without a delegate.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builders.cache import Cache, key_of, recipe, sha256_of
from builders.errors import ArchiveError, SmokeError
from builders.fetch import Fetcher
from builders.process import run
from builders.tables import Row, is_sha256, read_toml
from smoke_lambda.conform.environment import BEGUN
from smoke_lambda.lock import TRAIN
from smoke_lambda.site import Step, silent

HERE = Path(__file__).parent
SMOKE = HERE.parent
ROOT = SMOKE.parent
DATA = HERE / "networks.toml"
FLAVOURS = ("float32", "float16", "dynamic", "int8")
PRODUCT = "conform-networks"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A network in a package of PyPI.

    Attributes:
        file: the file name of the package's wheel.
        sha256: the hash of the wheel.
        member: the model's path in the wheel.
        quick: True if CI tries the network.
    """

    project: str
    version: str
    file: str
    sha256: str
    member: str
    quick: bool

    @property
    def name(self) -> str:
        """The model's file name without its ending, in lower case."""
        return Path(self.member).stem.lower()


@dataclass(frozen=True, kw_only=True)
class Built:
    """A network of keras.applications, with random weights.

    Attributes:
        application: the name of the function in keras.applications.
        size: the length of the image's sides.
        batch: 1, or 0 if the batch is set at run time.
        quick: True if CI tries the network.
    """

    application: str
    size: int
    batch: int
    flavours: tuple[str, ...]
    quick: bool

    @property
    def name(self) -> str:
        """The network's name, such as mobilenetv2 or efficientnetb0-dynamic."""
        return self.application.lower() + ("" if self.batch else "-dynamic")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A network of smoke_lambda/train/architectures.py, with random weights.

    Attributes:
        name: the network's name in that module.
        quick: True if CI tries the network.
    """

    name: str
    flavours: tuple[str, ...]
    quick: bool


Network = Published | Built | Drawn


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Networks, by the way that their models are made."""

    published: tuple[Published, ...]
    built: tuple[Built, ...]
    drawn: tuple[Drawn, ...]

    def quick(self) -> Networks:
        """Return the networks that CI tries."""
        return self.chosen(lambda each: each.quick)

    def named(self, *patterns: str) -> Networks:
        """Return the networks with a model whose name contains one of the patterns."""
        return self.chosen(
            lambda each: any(pattern in name for pattern in patterns for name in model_names(each))
        )

    def chosen(self, is_wanted: Callable[[Network], bool]) -> Networks:
        """Return the networks for which `is_wanted` is true."""
        return Networks(
            published=tuple(filter(is_wanted, self.published)),
            built=tuple(filter(is_wanted, self.built)),
            drawn=tuple(filter(is_wanted, self.drawn)),
        )


def model_names(network: Network) -> tuple[str, ...]:
    """Return the names that a network's models may have.

    The flavour of a published model is known only from the model itself, so every flavour is
    possible.
    """
    flavours = FLAVOURS if isinstance(network, Published) else network.flavours
    return tuple(f"{network.name}.{flavour}" for flavour in flavours)


def load_networks(path: Path = DATA) -> Networks:
    """Read and validate networks.toml.

    Raises:
        UsageError: the file is malformed; the message names the place.
    """
    row = Row(path.name, read_toml(path))
    published = [each for package in row.rows("package", "project") for each in _published(package)]
    built = [_built(each) for each in row.rows("keras", "application")]
    drawn = [_drawn(each) for each in row.rows("network", "name")]
    row.done()
    return Networks(published=tuple(published), built=tuple(built), drawn=tuple(drawn))


def _published(row: Row) -> list[Published]:
    common: dict[str, Any] = {
        "project": row.take("project", str, bool),
        "version": row.take("version", str, bool),
        "file": row.take("file", str, lambda name: name.endswith(".whl")),
        "sha256": row.take("sha256", str, is_sha256),
    }
    found = []
    for model in row.rows("model", "member"):
        member = model.take("member", str, lambda name: name.endswith(".tflite"))
        found.append(Published(**common, member=member, quick=model.take("quick", bool)))
        model.done()
    row.done()
    return found


def _built(row: Row) -> Built:
    built = Built(
        application=row.take("application", str, str.isidentifier),
        size=row.take("size", int, lambda size: size >= 32),
        batch=row.take("batch", int, lambda batch: batch in (0, 1)),
        flavours=row.strings("flavours"),
        quick=row.take("quick", bool),
    )
    row.done()
    return built


def _drawn(row: Row) -> Drawn:
    drawn = Drawn(
        name=row.take("name", str, str.isidentifier),
        flavours=row.strings("flavours"),
        quick=row.take("quick", bool),
    )
    row.done()
    return drawn


def corpus_of(
    networks: Networks,
    python: Path,
    cache: Cache,
    fetcher: Fetcher,
    log: Path,
    *,
    on_step: Step = silent,
) -> Path:
    """Return the corpus of some networks; make it if the cache does not have it.

    Args:
        python: the interpreter of the environment of requirements/train.txt.
        log: the file to which the output of the program that makes the corpus is appended.
        on_step: is told which network is fetched or made.

    Returns:
        The folder of the corpus, as smoke_lambda.inside.conform.corpus reads it.

    Raises:
        FetchError, ChecksumError: a package cannot be fetched.
        SmokeError: TensorFlow cannot convert or answer.
    """

    def make(folder: Path) -> None:
        models = folder / "models"

        def read(line: str) -> None:
            if line.startswith(BEGUN):
                on_step(line.removeprefix(BEGUN))

        for each in networks.published:
            on_step(f"{each.project}, {each.name}")
            model = models / each.project / f"{each.name}.tflite"
            model.parent.mkdir(parents=True, exist_ok=True)
            model.write_bytes(member_of(each, fetcher))
        job = folder / "job.json"
        job.write_text(json.dumps(_job(networks, models, folder / "corpus")))
        run(
            [python, "-B", "-m", "smoke_lambda.train.networks_making", job],
            log=log,
            failure=SmokeError,
            what="making the corpus of real networks",
            cwd=ROOT,
            env={"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)},
            on_line=read,
            keep_open=cache.held_locks,
        )

    return cache.product(PRODUCT, _key(networks), make) / "corpus"


def is_made(networks: Networks, cache: Cache) -> bool:
    """True if the cache already has the corpus of these networks."""
    return cache.has(PRODUCT, _key(networks))


def _key(networks: Networks) -> str:
    return key_of(
        {
            "networks": asdict(networks),
            "requirements": sha256_of(TRAIN.with_suffix(".txt")),
            "recipe": recipe(*RECIPE),
        }
    )


RECIPE = (
    HERE / "networks.py",
    *(
        SMOKE / "train" / f"{name}.py"
        for name in (
            "networks_making",
            "architectures",
            "making",
            "answers",
            "conversion",
            "pattern",
            "writing",
        )
    ),
)
"""The modules that can change the contents of the corpus."""


def member_of(network: Published, fetcher: Fetcher) -> bytes:
    """Return the contents of the model's file, from its package.

    Raises:
        FetchError, ChecksumError: the package cannot be fetched.
        ArchiveError: the package does not have the model.
    """
    wheel = fetcher.pypi(network.project, network.version, network.file, network.sha256)
    try:
        with zipfile.ZipFile(wheel) as members:
            return members.read(network.member)
    except KeyError:
        raise ArchiveError(f"{network.file} has no {network.member}") from None


def _job(networks: Networks, models: Path, corpus: Path) -> Mapping[str, Any]:
    return {
        "corpus": str(corpus),
        "published": [
            {
                "family": each.project,
                "name": each.name,
                "path": str(models / each.project / each.name) + ".tflite",
            }
            for each in networks.published
        ],
        "built": [asdict(each) | {"name": each.name} for each in networks.built],
        "drawn": [asdict(each) for each in networks.drawn],
    }
