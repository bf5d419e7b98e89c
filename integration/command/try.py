"""Serves app.py by a server of etc/command through the real front, and tries what a proxy can get wrong.

Usage: try.py PASTEWAY SERVER BIN; BIN has the servers and python.
"""

import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 60


def sample(server, directory):
    """The sample's [pasteway] part, with this app in the place of Nova."""
    samples = HERE.parent.parent / "etc/command"
    settings = (samples / "gunicorn.py").read_text()
    (directory / "gunicorn.py").write_text(settings.replace("nova.wsgi.%s:application' %", "app:%.0sapplication' %"))
    text = (samples / f"{server}.conf").read_text()
    return text.replace("nova.wsgi.{api}:application", "app:application").replace("/etc/nova", str(directory))


def until(what, condition):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not in {PATIENCE} s: {what}")


class Front:
    def __init__(self, binary, server, bin_dir):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pw-"))
        (self.dir / "paste.ini").write_text("[app:main]\npaste.app_factory = app:factory\nnote = 1\n")
        self.admin = f"unix:{self.dir}/admin"
        conf = "[DEFAULT]\n" + sample(server, self.dir) + f"runtime_dir = {self.dir}/r\nadmin_listen = {self.admin}\nwatch = false\n"
        (self.dir / "pasteway.conf").write_text(conf)
        env = dict(os.environ, PATH=f"{bin_dir}:{os.environ['PATH']}", PYTHONPATH=str(HERE))
        self.arguments = [binary, "--config-file", str(self.dir / "pasteway.conf")]
        self.log = open(self.dir / "log", "w")
        self.process = subprocess.Popen(
            [*self.arguments, "serve", "--paste", str(self.dir / "paste.ini"), "--listen", "127.0.0.1:0",
             "--workers", "2", "--worker-kind", "command"],
            env=env, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        until("the front serves", lambda: self.process.poll() is not None or len(self.pids()) == 2)
        assert self.process.poll() is None, self.text()
        self.port = self.status()["apis"][0]["listen"].rsplit(":", 1)[1]

    def text(self):
        return (self.dir / "log").read_text()

    def ask(self, path, method="GET"):
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        import socket
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.dir / "admin"))
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return json.loads(body)

    def status(self):
        return self.ask("/status")

    def workers(self):
        try:
            found = self.ask("/workers")
        except OSError:
            return []
        return found["workers"] if isinstance(found, dict) else found

    def pids(self):
        return [worker["pid"] for worker in self.workers() if worker["state"] == "serving"]

    def request(self, method, path, body=None, headers=None, chunked=False):
        connection = http.client.HTTPConnection("127.0.0.1", int(self.port), timeout=PATIENCE)
        connection.request(method, path, body=body, headers=headers or {}, encode_chunked=chunked)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, data

    def get(self, path, **more):
        status, data = self.request("GET", path, **more)
        assert status == 200, (status, data, self.text()[-3000:])
        return json.loads(data)


def group(leader):
    """The processes of a group, by /proc."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(stat[2]) == leader and stat[0] != "Z":
                found.append(int(entry.name))
    return found


def main():
    binary, server, bin_dir = sys.argv[1:]
    front = Front(binary, server, bin_dir)
    try:
        drive(front, server)
    finally:
        if front.process.poll() is None:
            front.process.kill()
            front.process.wait()
    print(f"{server}: ok")


def drive(front, server):
    seen = front.get("/a%20b/c?d=%20e", headers={"X-One": "1", "X-Pasteway-Mount": "9", "Host": "api.example"})
    assert seen["PATH_INFO"] == "/a b/c" and seen["QUERY_STRING"] == "d=%20e", seen
    assert seen["SCRIPT_NAME"] == "" and seen["HTTP_HOST"] == "api.example" and seen["HTTP_X_ONE"] == "1", seen
    assert seen.get("HTTP_X_PASTEWAY_MOUNT") != "9", seen
    if server == "uwsgi":
        assert seen["REMOTE_ADDR"] == "127.0.0.1", seen

    pieces = [b"x" * 1000] * 300
    status, data = front.request("POST", "/size", body=iter(pieces), headers={"Transfer-Encoding": "chunked"}, chunked=True)
    assert (status, json.loads(data)["size"]) == (200, 300_000), data
    status, data = front.request("POST", "/size", body=b"y" * 20_000_000)
    assert (status, json.loads(data)) == (200, {"size": 20_000_000, "length": "20000000"}), data
    status, data = front.request("GET", "/stream")
    assert (status, data) == (200, b"".join(b"%d\n" % n for n in range(20))), data
    if server == "uwsgi":
        status, data = front.request("GET", "/", headers={f"X-{n}": "l" * 8000 for n in range(10)})
        assert status in (400, 431), (status, data)

    # A master that is killed leaves nothing, and its slot is filled again.
    victim = front.pids()[0]
    members = group(victim)
    os.kill(victim, signal.SIGKILL)
    until("another worker", lambda: len(front.pids()) == 2 and victim not in front.pids())
    until("nothing is left of its group", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in members))
    front.get("/pid")

    # A rolling reload under load.
    failures, done = [], threading.Event()

    def load():
        while not done.is_set():
            try:
                status, data = front.request("GET", "/pid")
                if status != 200:
                    failures.append((status, data))
            except OSError as error:
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    before = front.pids()
    ini = front.dir / "paste.ini"
    ini.write_text(ini.read_text().replace("note = 1", "note = 2"))
    verdict = front.ask("/reload", "POST")
    assert verdict["outcome"] == "applied", verdict
    until("new workers alone", lambda: len(front.workers()) == 2 and not set(front.pids()) & set(before))
    done.set()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]

    # A stop leaves nothing behind.
    leaders = front.pids()
    everyone = [pid for leader in leaders for pid in group(leader)]
    front.process.terminate()
    assert front.process.wait(PATIENCE) == 0, front.text()[-3000:]
    until("nothing is left", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in everyone))
    assert not [p for p in (front.dir / "r").glob("*.sock")], list((front.dir / "r").iterdir())


main()
