"""What Lambda enforces on a function, as options of a container."""

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
    """What Lambda gives a function.

    Attributes:
        memory_mb: all of it; there is no swap.
        cpus: virtual CPUs.
        cpu_files: the folder that is /sys/devices/system/cpu; none shows an empty one.
    """

    memory_mb: int = MEMORY_MB
    cpus: int = 1
    cpu_files: Path | None = None

    def options(self) -> list[str]:
        """Options of `docker run`: these limits, and those that every function has.

        https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html;
        that /sys/devices/system/cpu is missing is known of arm64 (pytorch/cpuinfo).
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
    """What Linux has in /sys/devices/system/cpu of a Graviton with that many processors.

    For emulators, which show the files of the machine that they run on.
    https://docs.kernel.org/admin-guide/cputopology.html
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
    """Let any user read what is in a folder, whatever our umask is.

    What a link leads to is left alone: an environment's leads to the machine's own Python.
    """
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
