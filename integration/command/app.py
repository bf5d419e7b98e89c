"""A WSGI app for trying servers: shows its request, counts bodies, streams, knows its process."""

import json
import os
import time


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/size":
        size = 0
        while piece := environ["wsgi.input"].read(65536):
            size += len(piece)
        return answer(start_response, {"size": size, "length": environ.get("CONTENT_LENGTH")})
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return stream()
    if path == "/pid":
        return answer(start_response, {"pid": os.getpid(), "parent": os.getppid()})
    seen = {key: value for key, value in environ.items() if isinstance(value, str)}
    return answer(start_response, seen)


def answer(start_response, value):
    body = json.dumps(value).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def stream():
    for number in range(20):
        yield b"%d\n" % number
        time.sleep(0.02)
