"""A device with Python's ssl module: two visits, the second with the session of the first.

Arguments: port, trust anchor, chain, key, and 1.2 or 1.3. Says the status line of each answer.
"""

import socket
import ssl
import sys

port, anchor, chain, key, version = sys.argv[1:]
context = ssl.create_default_context(cafile=anchor)
context.load_cert_chain(chain, key)
context.minimum_version = context.maximum_version = {
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}[version]


def visit(session):
    tcp = socket.create_connection(("127.0.0.1", int(port)))
    with context.wrap_socket(tcp, server_hostname="gateway.test", session=session) as tls:
        tls.sendall(b"GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := tls.recv(4096):
            answer += piece
        print(answer.split(b"\r\n")[0].decode())
        return tls.session


try:
    visit(visit(None))
except OSError as error:
    sys.exit(str(error))
