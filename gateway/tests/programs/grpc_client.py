"""A gRPC client with a device's certificate. Says "fine" at the end, or fails where something is not as it should be.

Arguments: the gateway's port, its name, and the files of the anchor, the certificate and the key.
"""

import queue
import sys

import grpc

port, name, *files = sys.argv[1:]
anchor, certificate, key = (open(file, "rb").read() for file in files)
channel = grpc.secure_channel(
    "127.0.0.1:" + port,
    grpc.ssl_channel_credentials(anchor, key, certificate),
    options=[("grpc.ssl_target_name_override", name)],
)


def check(call):
    trailers = dict(call.trailing_metadata())
    assert trailers.get("device") == "device-000001", trailers
    assert trailers.get("kind") == "trailer", trailers


unary = channel.unary_unary("/fleet.Test/Unary")
answer, call = unary.with_call(b"hello", timeout=20, metadata=(("x-device-id", "forged"),))
assert answer == b"HELLO", answer
check(call)
answer, _ = unary.with_call(b"x" * 3_000_000, timeout=20)
assert answer == b"X" * 3_000_000

call = channel.unary_stream("/fleet.Test/ServerStream")(b"5000", timeout=20)
assert [int(number) for number in call] == list(range(5000))
check(call)

pieces = (b"x" * 1000 for _ in range(5000))
answer, call = channel.stream_unary("/fleet.Test/ClientStream").with_call(pieces, timeout=20)
assert answer == b"5000000", answer
check(call)

# Each message is sent only when the one before it was answered: neither direction may wait for the other to end.
messages = queue.Queue()
call = channel.stream_stream("/fleet.Test/Both")(iter(messages.get, None), timeout=20)
for number in range(200):
    message = b"message %d" % number
    messages.put(message)
    assert next(call) == message[::-1]
messages.put(None)
assert list(call) == []
check(call)

try:
    channel.unary_unary("/fleet.Test/Fail")(b"device-7", timeout=20)
    raise AssertionError("it did not fail")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.NOT_FOUND, error
    assert error.details() == "no such device: device-7", error
    check(error)

try:
    channel.unary_unary("/fleet.Test/Slow")(b"", timeout=0.3)
    raise AssertionError("it was not too slow")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
assert channel.unary_unary("/fleet.Test/WasCancelled")(b"", timeout=20) == b"yes"
print("fine")
