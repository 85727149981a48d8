"""A WebSocket client with a device's certificate. Says "fine" at the end, or fails where something is not as it should be.

Arguments: the gateway's port, its name, and the files of the anchor, the certificate and the key.
"""

import asyncio
import ssl
import sys

import websockets

port, name, anchor, certificate, key = sys.argv[1:]
context = ssl.create_default_context(cafile=anchor)
context.load_cert_chain(certificate, key)


async def main():
    async with websockets.connect(
        f"wss://{name}:{port}/lns",
        host="127.0.0.1",
        ssl=context,
        server_hostname=name,
        subprotocols=["fleet"],
        extra_headers={"X-Device-Id": "forged"},
        max_size=None,
    ) as socket:
        assert socket.subprotocol == "fleet"
        greeting = await socket.recv()
        assert greeting == "hello device-000001", greeting
        # A ping is answered by the server behind the gateway; the pause is longer than a connection stays awake.
        await asyncio.wait_for(await socket.ping(), 10)
        await asyncio.sleep(0.5)
        for message in ["text", b"\0binary\xff", "x" * 2_000_000]:
            await socket.send(message)
            assert await socket.recv() == message
    assert socket.close_code == 1000, socket.close_code


asyncio.run(asyncio.wait_for(main(), 30))
print("fine")
