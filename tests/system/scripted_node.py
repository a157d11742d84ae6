# SPDX-License-Identifier: MIT
"""A node of doc/protocol.md that has no machine behind it: joins, keeps the WebSocket, answers as told."""

import base64
import hashlib
import http.client
import json
import os
import socket
import ssl
import struct
import threading

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def decode_token(token):
    kind, text = token.split(".", 1)
    assert kind == "kkj1"
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def tls_context():
    """Self-signed; the pin is compared by who calls."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class ScriptedNode:
    """answer: "ack", "silent", or a sentence to reject changes with (nack) - the first message is acked always."""

    def __init__(self, token, report=None):
        self.token = decode_token(token)
        self.host, port = self.token["url"].removeprefix("https://").rsplit(":", 1)
        self.port = int(port)
        self.report = report
        self.answer = "ack"
        self.public_key = base64.b64encode(os.urandom(32)).decode()
        self.generation = 0
        self.messages = []
        self.closed = threading.Event()
        self.configured = threading.Event()
        self.identity = self._join()
        self.socket = self._connect()
        self.send({"type": "hello", "protocol": 1, "version": "test", "epoch": None, "generation": 0,
                   "public_key": self.public_key})
        threading.Thread(target=self._run, daemon=True).start()
        assert self.configured.wait(10), "no snapshot"

    def _join(self):
        connection = http.client.HTTPSConnection(self.host, self.port, context=tls_context(), timeout=10)
        connection.request("POST", "/api/v1/join", json.dumps({"secret": self.token["secret"], "version": "test"}),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        assert answer.status == 200, body
        return body

    def _connect(self):
        plain = socket.create_connection((self.host, self.port), timeout=10)
        line = tls_context().wrap_socket(plain)
        nonce = base64.b64encode(os.urandom(16)).decode()
        line.sendall((f"GET /api/v1/node HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nUpgrade: websocket\r\n"
                      f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {nonce}\r\n"
                      f"Authorization: Bearer {self.identity['key']}\r\n\r\n").encode())
        header = b""
        while not header.endswith(b"\r\n\r\n"):
            byte = line.recv(1)
            assert byte, header
            header += byte
        assert header.startswith(b"HTTP/1.1 101 "), header
        accept = base64.b64encode(hashlib.sha1((nonce + GUID).encode()).digest())
        assert accept in header, header
        line.settimeout(None)
        return line

    def send(self, message):
        self._send_frame(1, json.dumps(message).encode())

    def _send_frame(self, opcode, data):
        mask = os.urandom(4)
        length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        self.socket.sendall(bytes([0x80 | opcode]) + length + mask + masked)

    def _read(self, length):
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise OSError("end")
            data += part
        return data

    def _frame(self):
        first, length = self._read(2)
        if length == 126:
            length, = struct.unpack(">H", self._read(2))
        elif length == 127:
            length, = struct.unpack(">Q", self._read(8))
        return first & 15, self._read(length)

    def _run(self):
        try:
            while True:
                opcode, data = self._frame()
                if opcode == 9:
                    self._send_frame(10, data)
                elif opcode == 8:
                    self._send_frame(8, data)
                    break
                elif opcode == 1:
                    self._take(json.loads(data))
        except (OSError, ValueError):
            pass
        finally:
            self.closed.set()

    def _take(self, message):
        self.messages.append(message)
        if message["type"] not in ("snapshot", "delta"):
            return
        generation = message["generation"]
        if self.answer == "ack" or not self.generation:
            self.generation = generation
            self.send({"type": "ack", "generation": generation})
            if self.report:
                self.send({"type": "report", **self.report})
            self.configured.set()
        elif self.answer != "silent":
            self.send({"type": "nack", "generation": generation, "field": "port", "message": self.answer})

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.closed.wait(5)
        self.socket.close()
