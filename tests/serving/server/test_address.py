"""A server's socket."""

import asyncio
import socket
from typing import Any

from seqlab.serving.server.address import open_port


def test_what_is_written_is_sent_at_once() -> None:
    """With Nagle's algorithm, the second part of each answer came 40 ms later."""

    async def find_option() -> int:
        found = asyncio.get_running_loop().create_future()

        def answer(_: Any, writer: asyncio.StreamWriter) -> None:
            found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        place = open_port("127.0.0.1", 0)
        async with await asyncio.start_server(answer, sock=place):
            _, writer = await asyncio.open_connection(*place.getsockname())
            option = await found
            writer.close()
        return option

    assert asyncio.run(find_option())
