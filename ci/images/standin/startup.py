"""The command line of `python`, for an executable that runs this module instead of one."""

from __future__ import annotations

import os
import runpy
import sys


def init() -> None:
    """Older executables call it before `run`."""


def run() -> None:
    """Become what `python [options] -m MODULE|-c CODE|FILE [arguments]` is.

    https://docs.python.org/3/using/cmdline.html
    """
    words = sys.argv[1:]
    options = set()
    while words and words[0].startswith("-") and words[0] not in ("-c", "-m"):
        options.add(words.pop(0))
        if options & {"-W", "-X"}:
            options -= {"-W", "-X"}
            words.pop(0)
    if not words:
        sys.exit("this stand-in's python has no prompt: use -m, -c or a file")
    home = os.path.dirname(os.path.dirname(sys.executable))
    sys.prefix = sys.exec_prefix = sys.base_prefix = sys.base_exec_prefix = home
    library = os.path.join(home, "lib", "python{}.{}".format(*sys.version_info[:2]))
    path = os.environ.get("PYTHONPATH", "") if not options & {"-E", "-I"} else ""
    sys.path[:] = [*filter(None, path.split(os.pathsep)), library, f"{library}/lib-dynload"]
    # Now, since it takes the prefixes when it is imported.
    import site

    site.main()
    way, sys.argv = words[0], words[1:]
    if way == "-m":
        sys.path.insert(0, os.getcwd())
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    elif way == "-c":
        code, sys.argv[0] = sys.argv[0], "-c"
        sys.path.insert(0, "")
        exec(compile(code, "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        sys.argv = words
        sys.path.insert(0, os.path.dirname(os.path.abspath(way)))
        runpy.run_path(way, run_name="__main__")
