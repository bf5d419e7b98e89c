"""The same requests to a service under its own server and behind Pasteway, and what differs in the answers."""

import collections
import contextlib
import http.client
import http.cookies
import re
import subprocess
import time

PATIENCE = 120

Answer = collections.namedtuple("Answer", "status headers body")

# What belongs to the server, not to the service.
SERVERS = {"server", "date", "connection", "keep-alive", "transfer-encoding"}


class Visitor:
    """Asks, and keeps cookies."""

    def __init__(self, port):
        self.port, self.cookies = port, {}

    def ask(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = Answer(response.status, response.getheaders(), response.read())
        connection.close()
        for value in (value for name, value in answer.headers if name.lower() == "set-cookie"):
            self.cookies.update((name, morsel.value) for name, morsel in http.cookies.SimpleCookie(value.strip()).items())
        return answer


def multipart(fields, files):
    """A form's body and its headers."""
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    parts += [f'Content-Disposition: form-data; name="{name}"; filename="{name}.txt"\r\nContent-Type: text/plain\r\n\r\n{text}'
              for name, text in files.items()]
    body = "".join(f"--boundary\r\n{part}\r\n" for part in parts) + "--boundary--\r\n"
    return body.encode(), {"Content_Type": "multipart/form-data; boundary=boundary"}


def plain(answer, masks=()):
    """An answer without its server and without what is different each time."""
    def masked(text):
        for mask in masks:
            text = re.sub(mask, "*", text)
        return text

    headers = sorted((name.lower(), value.strip()) for name, value in answer.headers if name.lower() not in SERVERS)
    # A server may add it.
    headers = [header for header in headers if header != ("content-length", str(len(answer.body)))]
    headers = [(name, masked(re.sub("=[^;]+", "=*", value, count=1) if name == "set-cookie" else value)) for name, value in headers]
    body = answer.body
    if masks:
        body = masked(body.decode("latin-1"))
        # Where a mask has changed the size, that is no difference.
        headers = [(name, "*" if name == "content-length" else value) for name, value in headers]
    return Answer(answer.status, headers, body)


def compare(own, ours, masks=()):
    """Fails where an answer is another one; `own` and `ours` are answers by name."""
    assert own.keys() == ours.keys(), (own.keys(), ours.keys())
    for name in own:
        one, other = plain(own[name], masks), plain(ours[name], masks)
        for part, a, b in zip(Answer._fields, one, other):
            assert a == b, f"{name}: {part}\nown server: {a}\npasteway:   {b}"


@contextlib.contextmanager
def served(command, port, log, path="/", **options):
    """A server, from its first answer to its end."""
    with open(log, "w") as file:
        process = subprocess.Popen([str(word) for word in command], stdout=file, stderr=file, stdin=subprocess.DEVNULL, **options)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None and time.monotonic() < deadline, f"{command}:\n" + open(log).read()[-5000:]
            with contextlib.suppress(OSError):
                if Visitor(port).ask("GET", path).status < 500:
                    break
            time.sleep(0.1)
        yield process
        process.terminate()
        process.wait(PATIENCE)
    except BaseException:
        print(open(log).read()[-5000:])
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
