"""Generated text agrees with what it is generated from."""

from __future__ import annotations

from builders.matrix import load_matrix
from ci.update import README, RUNTIMES_BEGIN, RUNTIMES_END, with_runtimes


def test_the_readme_has_the_table_of_runtimes_that_the_matrix_gives() -> None:
    text = README.read_text()
    assert text == with_runtimes(text, load_matrix())
    for runtime in load_matrix().runtimes:
        assert f"| {runtime.name} |" in text


def test_the_rest_of_a_readme_is_left_alone() -> None:
    text = f"before\n{RUNTIMES_BEGIN}old\n{RUNTIMES_END}\nafter\n"
    found = with_runtimes(text, load_matrix())
    assert found.startswith("before\n")
    assert found.endswith("\nafter\n")
    assert "old" not in found
