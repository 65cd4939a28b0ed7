"""The load balancer of `config/haproxy.cfg`: the storm laboratory has it, and tests go through it where it is installed."""

import ssl

import pytest

from cpms_actors.base.errors import OperatorError
from loadtests.terminator import Terminator, require
from loadtests.wire import trust


def is_installed() -> bool:
    """Whether there is all that it needs."""
    try:
        require()
    except OperatorError:
        return False
    return True


def trusting(balancer: Terminator) -> ssl.SSLContext:
    """TLS of a client that believes this one alone."""
    return trust(balancer.certificate)


needs_haproxy = pytest.mark.skipif(not is_installed(), reason="haproxy or openssl is not installed")
