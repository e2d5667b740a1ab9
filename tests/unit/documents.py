"""Reads this repository's Markdown: its links, its headings, and the commands that it shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob(".github/**/*.md")])

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(<?([^)>\s]+)>?\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
# A block of commands has no language; others are code, text or a Dockerfile.
COMMANDS = ""
SEPARATORS = {"|", "&&", "||", ";", "(", ")"}
REDIRECTIONS = {">", ">>", "<"}
SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")


@dataclass(frozen=True)
class Command:
    """A command that a document shows.

    Attributes:
        words: the program and its arguments.
        whole: True if the command stands in a block to be pasted, False if in a sentence.
    """

    document: str
    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return f"{self.document}: {shlex.join(self.words)}"


def links(text: str) -> list[str]:
    """Return the targets of a document's links."""
    return LINK.findall(SPAN.sub("", FENCE.sub("", text)))


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub, GitLab and Gitea make them."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = 1
        while slug in found:
            slug = f"{slug}-{count}"
            count += 1
        found.add(slug)
    return found


def commands(document: Path) -> Iterator[Command]:
    """Yield every command of a document, in its blocks, sentences and tables."""
    yield from commands_of(document.read_text(), document.relative_to(ROOT).as_posix())


def commands_of(text: str, name: str) -> Iterator[Command]:
    """Yield every command in the text of a document."""
    for block in FENCE.finditer(text):
        if block["language"] == COMMANDS:
            for line in block["code"].replace("\\\n", " ").splitlines():
                yield from (Command(name, words, True) for words in split(line))
    for span in SPAN.findall(FENCE.sub("", text)):
        if re.match(r"(\./scripts/|aws |docker |pip |sam )", span) and "→" not in span:
            yield from (Command(name, words, False) for words in split(span))


def split(line: str) -> Iterator[tuple[str, ...]]:
    """Yield the commands of a shell line, with those in substitutions and pipes."""
    for inner in SUBSTITUTION.findall(line):
        yield from split(inner)
    lexer = shlex.shlex(SUBSTITUTION.sub("output", line), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    skip = False
    for word in [*lexer, ";"]:
        if word in SEPARATORS:
            if words:
                yield tuple(words)
            words = []
        elif word in REDIRECTIONS or skip:
            skip = word in REDIRECTIONS
        else:
            words.append(word)
