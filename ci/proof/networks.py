"""Makes the corpus of real networks for the commands that need one, and shows how far it is."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from builders.cli import Session
from ci.proof.hunter import train_python
from smoke_lambda.conform.networks import Networks, corpus_of


def networks_corpus(networks: Networks, session: Session, log: Path) -> Path:
    """Return the corpus of some networks; make it if the cache does not have it.

    Args:
        log: the file to which the output of the programs that make it is appended.

    Returns:
        The folder of the corpus, as smoke_lambda.inside.conform.corpus reads it.

    Raises:
        FetchError, ChecksumError, SmokeError: as smoke_lambda.conform.networks.corpus_of.
    """
    with session.reporter.step("networks") as step:
        show = partial(session.reporter.show, step)
        show("TensorFlow")
        python = train_python(session.cache, log)
        return corpus_of(networks, python, session.cache, session.fetcher, log, on_step=show)
