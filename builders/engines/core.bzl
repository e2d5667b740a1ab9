"""Runs the commands of a build graph: one action each, of one program, on just the files it needs.

There are no rules of a language here, no toolchain and no other repository, so that the same
file serves every Bazel from 4 on, and nothing is downloaded.
"""

# Stands for the folder of what is made, whose name only Bazel knows.
_BIN = "@BIN@"

def _core_impl(ctx):
    files = {file.short_path: file for file in ctx.files.files}
    groups = {
        name: depset([files[path] for path in paths])
        for name, paths in ctx.attr.groups.items()
    }
    made = {path: ctx.actions.declare_file(path) for path in ctx.attr.commands}
    for path, words in ctx.attr.commands.items():
        ctx.actions.run(
            executable = ctx.file.program,
            arguments = [word.replace(_BIN, ctx.bin_dir.path) for word in words],
            inputs = depset(
                [made[part] for part in ctx.attr.parts.get(path, [])],
                transitive = [groups[name] for name in ctx.attr.inputs.get(path, [])],
            ),
            outputs = [made[path]],
            env = ctx.attr.env,
            mnemonic = "Core",
            progress_message = "Making " + path,
        )
    return [DefaultInfo(files = depset([made[path] for path in ctx.attr.results]))]

core = rule(
    implementation = _core_impl,
    attrs = {
        "program": attr.label(
            allow_single_file = True,
            doc = "the compiler, which every command starts",
        ),
        "env": attr.string_dict(doc = "variables of every command; there are no others"),
        "files": attr.label_list(allow_files = True, doc = "every source and header"),
        "groups": attr.string_list_dict(doc = "names of files that always go together"),
        "commands": attr.string_list_dict(
            doc = "by what a command makes, its words after the program",
        ),
        "inputs": attr.string_list_dict(doc = "by what a command makes, the groups it reads"),
        "parts": attr.string_list_dict(
            doc = "by what a command makes, what it reads that other commands make",
        ),
        "results": attr.string_list(doc = "what is wanted of all that is made"),
    },
)
