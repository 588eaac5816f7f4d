"""The process of the page, and a client for it without a browser."""

import json
import re
import signal
import struct
import subprocess
import urllib.error
import urllib.request

import grpc

from service.stubs.quadrant.v1 import quadrant_pb2_grpc
from tests.support.serving import QUADNET, AnnouncedProcess, LogLines

PLAYGROUND = "quadrant.v1.PlaygroundService"


class PageServerProcess(AnnouncedProcess):
    """`quadnet playground` in front of a server, started, announced, and stopped at the end."""

    def __init__(self, server_port, *options):
        self.process = subprocess.Popen(
            [*QUADNET, "playground", "--port", str(server_port), "--page-port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._log = LogLines(self.process.stderr)
        self.announcement = []
        for line in self.process.stdout:
            self.announcement.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        text = "\n".join(self.announcement)
        if "Ctrl-C" not in text:
            self.process.kill()
            self.process.wait(10)
            raise RuntimeError(f"The page did not start: {text} {self._log.all()}")
        self.url = re.search(r"http://\S+/", text)[0]
        self.host = self.url.split("/")[2]
        self.sandboxes = re.search(r"sandboxes at (\S+?)\.?$", text, re.MULTILINE)[1]
        self.channel = grpc.insecure_channel(self.sandboxes)
        self.stub = quadrant_pb2_grpc.PlaygroundServiceStub(self.channel)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20), self.process.stdout.read(), self._log.all()

    def post(self, path, content, *, content_type="application/json", method="POST", **headers):
        """Return the status, the headers and the body of the page's response."""
        data = content if isinstance(content, bytes | None) else json.dumps(content).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(
            self.url + path, data, {"content-type": content_type, **names}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def call(self, service, method, request):
        """Return the status and the decoded answer."""
        status, _, body = self.post(f"{service}/{method}", request)
        return status, json.loads(body)


def read_envelopes(body):
    """Return the flags and the message of each envelope of a stream."""
    found = []
    while body:
        flags, length = struct.unpack(">BI", body[:5])
        found.append((flags, json.loads(body[5 : 5 + length])))
        body = body[5 + length :]
    return found


def make_envelope(message):
    content = json.dumps(message).encode()
    return struct.pack(">BI", 0, len(content)) + content
