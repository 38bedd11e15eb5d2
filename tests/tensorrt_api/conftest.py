"""The API of each TensorRT release: a test that asks for it runs once for each."""

from __future__ import annotations

import pytest

from tests.environments import NoNetworkError, skip_or_fail
from tests.tensorrt_api.bindings import (
    RELEASES,
    TensorRTApi,
    missing_tools,
    missing_wheel,
    read_api,
)


@pytest.fixture(scope="session", params=RELEASES, ids=str)
def tensorrt_api(request: pytest.FixtureRequest) -> TensorRTApi:
    """What one release offers; skips where its bindings cannot be had."""
    # Not a failure in CI either: nothing on that machine could fix it.
    if reason := missing_wheel(request.param):
        pytest.skip(reason)
    if reason := missing_tools():
        skip_or_fail(reason)
    try:
        return read_api(request.param)
    except NoNetworkError as error:
        skip_or_fail(f"TensorRT {request.param} cannot be fetched: {error}")
