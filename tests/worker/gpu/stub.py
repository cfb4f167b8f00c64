"""Builds a stub of NVIDIA's library, so that the real pynvml shows GPUs that are not there."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("nvml.c")
LIBRARY = "libnvidia-ml.so.1"


@dataclass(frozen=True)
class NvmlStub:
    """A directory with the library and the file that describes its GPUs."""

    directory: Path

    def shows(self, description: str) -> None:
        """Replace the GPUs; see nvml.c for the lines."""
        partial = self.directory / "gpus.new"
        partial.write_text(description)
        partial.replace(self.directory / "gpus.txt")

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a process that should see them."""
        path = f"{self.directory}{os.pathsep}{os.environ.get('LD_LIBRARY_PATH', '')}"
        return {
            "LD_LIBRARY_PATH": path.rstrip(os.pathsep),
            "STUB_NVML": str(self.directory / "gpus.txt"),
        }


def build_stub(directory: Path) -> NvmlStub:
    """Compile the library."""
    compiler = shutil.which("cc")
    if compiler is None:
        if os.environ.get("CI"):
            raise RuntimeError("there is no C compiler, and CI may not skip the tests of NVML")
        pytest.skip("there is no C compiler for the stub of NVML")
    argv = [compiler, "-Wall", "-shared", "-fPIC", "-o", str(directory / LIBRARY), str(SOURCE)]
    subprocess.run(argv, check=True)
    return NvmlStub(directory)
