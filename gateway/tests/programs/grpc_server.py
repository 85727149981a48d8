"""A gRPC service of four kinds of calls, without generated code: messages are bytes.

Prints its port once it listens, and ends when its standard input does.
"""

import sys
import threading
from concurrent import futures

import grpc

cancelled = threading.Event()


def tell(context):
    """Sends back as trailers what the gateway said about the device."""
    metadata = dict(context.invocation_metadata())
    context.set_trailing_metadata(
        (("device", metadata.get("x-device-id", "nobody")), ("kind", "trailer"))
    )


def unary(request, context):
    tell(context)
    return request.upper()


def server_stream(request, context):
    tell(context)
    for number in range(int(request)):
        yield b"%d" % number


def client_stream(requests, context):
    tell(context)
    return b"%d" % sum(len(request) for request in requests)


def both(requests, context):
    tell(context)
    for request in requests:
        yield request[::-1]


def fail(request, context):
    tell(context)
    context.abort(grpc.StatusCode.NOT_FOUND, "no such device: " + request.decode())


def slow(request, context):
    context.add_callback(cancelled.set)
    cancelled.wait(20)
    return b"too late"


def was_cancelled(request, context):
    return b"yes" if cancelled.wait(10) else b"no"


handlers = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
    "WasCancelled": grpc.unary_unary_rpc_method_handler(was_cancelled),
}
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("fleet.Test", handlers),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(None)
