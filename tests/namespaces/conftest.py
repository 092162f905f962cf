import netns
import pytest


@pytest.fixture(scope="session")
def _possible():
    return netns.why()


@pytest.fixture
def network(_possible):
    """A network of its own; the test is skipped, with the reason, where there can be none."""
    if _possible:
        pytest.skip(_possible)
    with netns.Network() as found:
        yield found
