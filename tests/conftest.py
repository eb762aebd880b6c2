"""What tests ask for that run for several worker classes, with TLS and without."""

import pytest

from integration import kinds


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests that ask for it once for each worker class."""
    kinds.run_over(metafunc)


@pytest.fixture(scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    """The worker class of the servers that are started."""
    return str(getattr(request, "param", kinds.USUAL))


@pytest.fixture(autouse=True)
def _leave_out_what_differs(request: pytest.FixtureRequest) -> None:
    kinds.leave_out(request)
