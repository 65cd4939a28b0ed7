"""Async tests here run on both backends: on trio in virtual time, on asyncio (uvloop) in real time, so its waits are kept tiny."""

from typing import Any

import pytest
import trio.testing


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The backend and its options; a fresh clock for each test."""
    if request.param == "trio":
        return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0.0)}
    return "asyncio", {"use_uvloop": True}
