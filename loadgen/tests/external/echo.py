"""A WebSocket server behind mutual TLS that sends back what it gets; at `/short` less than that, at `/leaves` nothing but a close.

Usage: echo.py SERVER_CHAIN SERVER_KEY TRUST_ANCHOR. Prints its port once it listens; prints a line for each connection that has
ended: messages received, and the close code. Ends when its standard input does.
"""

import asyncio
import ssl
import sys

import websockets


async def echo(socket, *_):
    certificate = socket.transport.get_extra_info("peercert")
    device = dict(pair for (pair,) in certificate["subject"])["commonName"]
    messages = 0
    try:
        async for message in socket:
            messages += 1
            if socket.path == "/leaves":
                await socket.close(4001, "as asked")
                break
            await socket.ping()
            await socket.send(message[:-1] if socket.path == "/short" else message)
    except websockets.ConnectionClosed:
        pass
    await socket.wait_closed()
    print(messages, socket.close_code, device, socket.subprotocol, flush=True)


async def main():
    chain, key, anchor = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    context.load_verify_locations(anchor)
    context.verify_mode = ssl.CERT_REQUIRED
    async with websockets.serve(
        echo, "127.0.0.1", 0, ssl=context, subprotocols=["telemetry.v1"]
    ) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
