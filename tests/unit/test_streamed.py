"""A stream lets go of what it stands on when its client is gone, also one that reads nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import APIRouter, Response

from producers.gateway.app import gateway_app
from producers.gateway.streaming import Streamed
from tests.gateway import serving


@pytest.mark.parametrize("reads", [True, False])
async def test_a_stream_ends_with_its_connection(reads: bool) -> None:
    ended, sent = asyncio.Event(), [0]

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65_536
                sent[0] += 1
                if reads:
                    await asyncio.sleep(0.05)
        finally:
            ended.set()

    routes = APIRouter()

    @routes.get("/pieces")
    async def stream() -> Response:
        return Streamed(pieces(), "application/octet-stream", {})

    async with serving(gateway_app([routes])) as url, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]), limit=65_536)
        writer.write(b"GET /pieces HTTP/1.1\r\nHost: here\r\n\r\n")
        before = -1
        while sent[0] == 0 or (not reads and before != sent[0]):
            before = sent[0]
            if reads:
                await reader.read(65_536)
            else:
                await asyncio.sleep(0.3)  # until nobody takes any more
        writer.transport.abort()
        await ended.wait()
