"""A WebSocket server that sends back what it gets, after a greeting to the device.

Prints its port once it listens, and ends when its standard input does.
"""

import asyncio
import sys

import websockets


async def serve(socket, *_):
    device = socket.request_headers["X-Device-Id"]
    await socket.send("hello " + device)
    async for message in socket:
        await socket.send(message)


async def main():
    async with websockets.serve(
        serve, "127.0.0.1", 0, subprotocols=["fleet"], max_size=None
    ) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
