"""The stub of NVML, built once."""

import pytest

from tests.worker.gpu.stub import NvmlStub, build_stub


@pytest.fixture(scope="package")
def nvml_stub(tmp_path_factory: pytest.TempPathFactory) -> NvmlStub:
    return build_stub(tmp_path_factory.mktemp("nvml"))
