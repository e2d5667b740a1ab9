"""The limits that Lambda enforces on a function, as options of a container."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MEMORY_MB = 512
TMP_MB = 512  # Lambda's default ephemeral storage
# Lambda's sandbox user and group.
USER = "993:990"
CPU_FILES = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The resources that Lambda gives a function.

    Attributes:
        memory_mb: the memory in MB; there is no swap.
        cpus: the number of virtual CPUs.
        cpu_files: the folder to mount as /sys/devices/system/cpu; None mounts an empty one.
    """

    memory_mb: int = MEMORY_MB
    cpus: int = 1
    cpu_files: Path | None = None

    def options(self) -> list[str]:
        """Return options of `docker run`: these limits, and the limits of every function.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html.
        On arm64, Lambda is known to lack /sys/devices/system/cpu (pytorch/cpuinfo).
        """
        hidden = f"type=tmpfs,destination={CPU_FILES}"
        shown = f"type=bind,source={self.cpu_files},target={CPU_FILES},readonly"
        return [
            "--read-only",
            *("--tmpfs", f"/tmp:rw,exec,nosuid,mode=1777,size={TMP_MB}m"),
            *("--mount", shown if self.cpu_files else hidden),
            *("--user", USER),
            *("--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges"),
            *("--pids-limit", "1024"),
            *("--network", "none"),
            *("--memory", f"{self.memory_mb}m", "--memory-swap", f"{self.memory_mb}m"),
            *("--cpus", str(self.cpus)),
            *("--env", f"AWS_LAMBDA_FUNCTION_MEMORY_SIZE={self.memory_mb}"),
        ]


def list_processors(folder: Path, count: int = 2) -> Path:
    """Write the files of /sys/devices/system/cpu that a Graviton with `count` processors has.

    Emulators need them, because they show the files of the machine that they run on.
    Source: https://docs.kernel.org/admin-guide/cputopology.html
    """
    every = f"0-{count - 1}"
    files = dict.fromkeys(("possible", "present", "online"), every) | {"kernel_max": "255"}
    for number in range(count):
        topology = f"cpu{number}/topology"
        files[f"{topology}/physical_package_id"] = "0"
        files[f"{topology}/core_id"] = str(number)
        files[f"{topology}/core_siblings_list"] = every
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text}\n")
    open_to_all(folder)
    return folder


def open_to_all(folder: Path) -> None:
    """Let any user read a folder and its contents, whatever our umask is.

    Targets of links are left alone: an environment's link leads to the machine's own Python.
    """
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
