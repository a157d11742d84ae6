# SPDX-License-Identifier: MIT
"""Control as far as one node sees it, saying what a test tells it to say, also what Control never would.

Speaks doc/protocol.md: the join, and one WebSocket (RFC 6455) whose messages wait in a queue for the test.
"""

import base64
import hashlib
import json
import queue
import socket
import ssl
import struct
import subprocess
import threading

from . import netns

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


def _read(stream, length):
    data = stream.read(length)
    if len(data) != length:
        raise ConnectionError("the node has closed the connection")
    return data


class ScriptedControl:
    def __init__(self, namespace, address, port, directory, role="gateway", node="gw"):
        self.role, self.node = role, node
        self.url = f"https://{address}:{port}"
        self.key = "kkn_" + base64.urlsafe_b64encode(b"n" * 32).decode().rstrip("=")
        self.joins = []
        self._messages = queue.Queue()
        self._line = None
        self._context, self.pin = _certificate(directory)
        with netns.entered(namespace):
            self._listener = socket.create_server((address, port))
        threading.Thread(target=self._accept, daemon=True).start()

    def token(self, node=None, role=None, secret="c2VjcmV0"):
        text = json.dumps({"url": self.url, "pin": self.pin, "secret": secret, "role": role or self.role,
                           "node": node or self.node})
        return "kkj1." + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def close(self):
        self._listener.close()
        self.hang_up()

    def hang_up(self):
        """Closes the line to the node, which will dial again."""
        line, self._line = self._line, None
        if line:
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the node was quicker
            line.close()

    # What a test says and hears

    def send(self, message):
        payload = json.dumps(message).encode()
        self._line.sendall(_frame(_TEXT, payload))

    def expect(self, kind, timeout_s=60):
        """The next message of a type; reports that come in between are passed over, anything else is an error."""
        while True:
            message = self._messages.get(timeout=timeout_s)
            if message["type"] == kind:
                return message
            assert message["type"] == "report", message

    def expect_report(self, condition, timeout_s=60):
        while True:
            message = self.expect("report", timeout_s)
            if condition(message):
                return message

    # The server

    def _accept(self):
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain):
        try:
            line = self._context.wrap_socket(plain, server_side=True)
            with line.makefile("rb") as stream:
                self._request(line, stream)
        except (OSError, ValueError):
            plain.close()

    def _request(self, line, stream):
        method, path, _ = stream.readline().decode().split()
        headers = {}
        while (text := stream.readline().decode().strip()):
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        if (method, path) == ("POST", "/api/v1/join"):
            self._join(line, stream, headers)
        elif path == "/api/v1/node" and headers.get("authorization") == f"Bearer {self.key}":
            accept = hashlib.sha1((headers["sec-websocket-key"] + _GUID).encode()).digest()
            line.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n")
            self._line = line
            self._listen(line, stream)
        else:
            _answer(line, 401, {"error": {"code": "unauthorized", "message": "Wrong key."}})

    def _join(self, line, stream, headers):
        self.joins.append(json.loads(_read(stream, int(headers["content-length"]))))
        _answer(line, 200, {"role": self.role, "id": 1, "name": self.node, "key": self.key, "epoch": "e1"})

    def _listen(self, line, stream):
        while True:
            first, second = _read(stream, 2)
            length = second & 127
            if length == 126:
                length, = struct.unpack("!H", _read(stream, 2))
            elif length == 127:
                length, = struct.unpack("!Q", _read(stream, 8))
            mask = _read(stream, 4)
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(_read(stream, length)))
            if first & 15 == _PING:
                line.sendall(_frame(_PONG, payload))
            elif first & 15 == _CLOSE:
                line.sendall(_frame(_CLOSE, payload))
            elif first & 15 == _TEXT:
                self._messages.put(json.loads(payload))


def _frame(opcode, payload):
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", 0x80 | opcode, length)
    elif length < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, length)
    return head + payload


def _answer(line, status, body):
    text = json.dumps(body).encode()
    line.sendall(f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
                 "Connection: close\r\n\r\n".encode() + text)
    line.close()


def _certificate(directory):
    """A server's context with a fresh certificate, and the pin of its key."""
    key, certificate = directory / "scripted.key", directory / "scripted.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", certificate, "-subj", "/CN=scripted", "-days", "2"],
                   check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    public = subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-outform", "der"], check=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, base64.b64encode(hashlib.sha256(public).digest()).decode()
