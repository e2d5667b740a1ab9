from __future__ import annotations

import socket

from smoke_lambda.loopback import free_port, listens


def test_a_free_port_is_one_that_a_program_can_have() -> None:
    port = free_port()
    assert port > 1023
    assert not listens(port)
    with socket.create_server(("127.0.0.1", port)):
        assert listens(port)
    assert not listens(port)
