# SPDX-License-Identifier: MIT
"""A gateway or an Agent as Control sees it: a WebSocket (RFC 6455) that says what the test wants."""

import base64
import hashlib
import json
import os
import socket
import struct
import time

from .daemon import read_token

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Closed(Exception):
    def __init__(self, status=None, reason=""):
        super().__init__(f"closed: {status} {reason}")
        self.status = status
        self.reason = reason


# For what has to come: a machine that is slow, or busy with other things, takes its time.
PATIENCE_S = 60


class WebSocket:
    def __init__(self, control, key, path="/api/v1/node"):
        self.buffer = bytearray()  # what came and is no whole frame yet
        self.socket = control.connect(timeout=PATIENCE_S)
        nonce = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
                             "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                             f"Sec-WebSocket-Key: {nonce}\r\n\r\n").encode())
        head = self._head()
        self.status = int(head.split()[1])
        if self.status == 101:
            accept = hashlib.sha1((nonce + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            assert base64.b64encode(accept).decode() in head

    def _head(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.socket.recv(1)
            if not byte:
                raise Closed()
            head += byte
        return head.decode()

    def _fill(self, length):
        """Waits until the buffer has so much; what it has stays there when the time is over before."""
        while len(self.buffer) < length:
            try:
                part = self.socket.recv(max(length - len(self.buffer), 4096))
            except ConnectionError:
                part = b""
            if not part:
                raise Closed()
            self.buffer += part

    def send_frame(self, opcode, payload, final=True):
        head = bytes([(0x80 if final else 0) | opcode])
        if len(payload) < 126:
            head += bytes([0x80 | len(payload)])
        elif len(payload) < 65536:
            head += bytes([0x80 | 126]) + struct.pack(">H", len(payload))
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", len(payload))
        self.socket.sendall(head + bytes(4) + payload)

    def read_frame(self):
        self._fill(2)
        opcode, length, at = self.buffer[0] & 15, self.buffer[1], 2
        if length == 126:
            at = 4
            self._fill(at)
            length, = struct.unpack(">H", self.buffer[2:at])
        elif length == 127:
            at = 10
            self._fill(at)
            length, = struct.unpack(">Q", self.buffer[2:at])
        self._fill(at + length)
        payload = bytes(self.buffer[at:at + length])
        del self.buffer[:at + length]
        return opcode, payload

    def send(self, message):
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.send_frame(TEXT, text)

    def receive(self, timeout=PATIENCE_S):
        """The next message; answers pings on the way."""
        deadline = time.monotonic() + timeout
        while True:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            opcode, payload = self.read_frame()
            if opcode == TEXT:
                return json.loads(payload)
            if opcode == PING:
                self.send_frame(PONG, payload)
            elif opcode == CLOSE:
                raise Closed(struct.unpack(">H", payload[:2])[0] if payload else None, payload[2:].decode())

    def close(self):
        self.socket.close()


class Node:
    def __init__(self, control, join_token):
        token = read_token(join_token)
        status, answer = control.call("POST", "/api/v1/join", {"secret": token["secret"], "version": "0.0"}, key="")
        assert status == 200, answer
        self.control = control
        self.id, self.name, self.key, self.role = (answer[part] for part in ("id", "name", "key", "role"))
        self.public_key = base64.b64encode(os.urandom(32)).decode()
        self.line = None
        self.epoch = None
        self.generation = 0

    def connect(self):
        self.line = WebSocket(self.control, self.key)
        assert self.line.status == 101, self.line.status
        return self

    def hello(self, **fields):
        self.connect()
        self.line.send({"type": "hello", "protocol": 1, "version": "0.0", "epoch": self.epoch,
                        "generation": self.generation, "public_key": self.public_key, **fields})
        return self

    def receive(self, ack=True, timeout=PATIENCE_S):
        """The next snapshot or delta, acknowledged."""
        message = self.line.receive(timeout)
        assert message["type"] in ("snapshot", "delta")
        if message["type"] == "delta":
            assert message["from"] == self.generation, message
        if ack:
            self.epoch = message.get("epoch", self.epoch)
            self.generation = message["generation"]
            self.line.send({"type": "ack", "generation": self.generation})
        return message

    def join_in(self):
        """Says hello and takes over what Control says, until it has said all of it."""
        self.hello()
        message = self.receive()
        self.quiet()
        return message

    def quiet(self, timeout=PATIENCE_S):
        """Takes what comes until Control says that there is no more; the last message or None."""
        last = None
        deadline = time.monotonic() + timeout
        while True:
            try:
                last = self.receive(timeout=0.05)
                continue
            except (TimeoutError, socket.timeout):
                pass
            state = self.control.do("GET", f"{self.role}s/{self.name}")
            if state["acked_generation"] == self.control.do("GET", "status")["generation"]:
                return last
            assert time.monotonic() < deadline, state

    def nack(self, message, field="port", why="the port is no good here"):
        self.line.send({"type": "nack", "generation": message["generation"], "field": field, "message": why})

    def report(self, **fields):
        self.line.send({"type": "report", **fields})

    def closed(self, timeout=PATIENCE_S):
        """Waits for Control to close the line; the status, or None if it just ended."""
        try:
            while True:
                self.line.receive(timeout)
        except Closed as end:
            return end.status

    def disconnect(self):
        self.line.close()
