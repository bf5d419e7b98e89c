"""Serves a Paste file by `pasteway serve --paste` and requests from it.

Usage: try.py PASTEWAY PYTHON SERVICE
"""

import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 120


def main():
    binary, python, service = sys.argv[1:]
    work = pathlib.Path(tempfile.mkdtemp(prefix="pw-"))
    prefix = pathlib.Path(python).parent.parent
    paste, name, more, checks = SERVICES[service](work, prefix)
    (work / "pasteway.conf").write_text(
        f"[pasteway]\nruntime_dir = {work}/r\nadmin_listen = unix:{work}/admin\nworker_python = {python}\nwatch = false\n")
    log = open(work / "log", "w")
    arguments = [binary, "--config-file", str(work / "pasteway.conf"), *more.pop("files", [])]
    logged, edit = more.pop("logged", []), more.pop("edit", None)
    served = ["--paste", str(paste), "--name", name, *more.pop("listen", [])]
    env = dict(os.environ, PYTHONPATH=str(HERE), **more)
    for command in ["check", "tree"]:
        done = subprocess.run([*arguments, command, *served], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        if command == "tree":
            print(done.stdout)
    front = subprocess.Popen([*arguments, "serve", *served, "--workers", "1"],
                             env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        port = wait(front, work)
        for method, path, status, words in checks:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            connection.request(method, path)
            response = connection.getresponse()
            text = f"{response.getheaders()}\n{response.read().decode()}"
            assert response.status == status, (path, response.status, text, (work / "log").read_text()[-3000:])
            assert all(word in text for word in words), (path, text)
        if edit:
            # Only the workers read this.
            paste.write_text(paste.read_text().replace(*edit))
            verdict = admin(work, "POST", "/reload")
            assert verdict["outcome"] == "applied", verdict
            assert [change["class"] for change in verdict["changes"]] == ["rolling"], verdict
        front.terminate()
        assert front.wait(PATIENCE) == 0, (work / "log").read_text()[-3000:]
        for line in logged:
            assert re.search(line, (work / "log").read_text()), (line, (work / "log").read_text())
    finally:
        if front.poll() is None:
            front.kill()
            front.wait()
    print(f"{service}: ok")


def admin(work, method, path):
    """What the admin listener answers."""
    connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(work / "admin"))
    connection.request(method, path)
    return json.loads(connection.getresponse().read())


def wait(front, work):
    """The port, once the service is ready."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and front.poll() is None:
        try:
            status = admin(work, "GET", "/status")
            if not status["not_ready"]:
                return int(status["apis"][0]["listen"].rsplit(":", 1)[1])
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError((work / "log").read_text()[-5000:])


def basic(work, prefix):
    return HERE / "basic.ini", "main", {}, [
        ("GET", "/filter-app", 200, ["hello", "filter-app"]),
        ("GET", "/filter-with", 200, ["wrapped", "filter-with"]),
        ("GET", "/cascade", 200, ["hello"]),
        ("GET", "/nowhere", 404, []),
    ]


def pyramid(work, prefix):
    """The starter as Pyramid makes it, with its development.ini but for the port, and one thing more in its log."""
    text = (prefix / "Starter/development.ini").read_text()
    for word, other in [("localhost:6543", "localhost:0"), ("debug_notfound = false", "debug_notfound = true")]:
        assert word in text, text
        text = text.replace(word, other)
    (work / "development.ini").write_text(text)
    # What the starter's logger lets through, in its handler's format.
    more = {"edit": ("level = DEBUG", "level = ERROR"), "logged": [r"DEBUG \[starter:\d+\]\[[\w-]+\] debug_notfound of url http://127.0.0.1:\d+/nowhere"]}
    return work / "development.ini", "main", more, [
        ("GET", "/", 200, ["Starter Scaffold for The Pyramid Web Framework", "Pyramid Web Framework 1.10"]),
        ("GET", "/static/theme.css", 200, ["text/css", "font-family"]),
        ("HEAD", "/static/pyramid.png", 200, ["image/png"]),
        ("GET", "/nowhere", 404, []),
    ]


def glance(work, prefix):
    """Glance's own file as its wheel brings it, started by Glance's own WSGI module (its factories need its options)."""
    paste = prefix / "etc/glance/glance-api-paste.ini"
    (work / "glance-api.conf").write_text(
        f"[DEFAULT]\nenabled_backends = files:file\nnode_staging_uri = file://{work}/staging\n"
        f"[database]\nconnection = sqlite:///{work}/glance.sqlite\n"
        f"[glance_store]\ndefault_backend = files\n[files]\nfilesystem_store_datadir = {work}/images\n"
        f"[os_glance_staging_store]\nfilesystem_store_datadir = {work}/staging\n"
        f"[os_glance_tasks_store]\nfilesystem_store_datadir = {work}/tasks\n"
        f"[paste_deploy]\nconfig_file = {paste}\n")
    more = {"listen": ["--listen", "127.0.0.1:0"], "OS_GLANCE_CONFIG_DIR": str(work)}
    (work / "app.conf").write_text("[pasteway]\nworker_app = glance.wsgi.api:application\n")
    more["files"] = ["--config-file", str(work / "app.conf")]
    return paste, "glance-api", more, [
        ("GET", "/healthcheck", 200, ["OK"]),
        ("GET", "/versions", 200, ["CURRENT"]),
        ("GET", "/", 300, ["CURRENT"]),
    ]


def swift(work, prefix):
    """The pipeline of Swift's proxy-server.conf-sample, which its wheel does not bring, with empty rings."""
    (work / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = x\n[storage-policy:0]\nname = Policy-0\ndefault = yes\n")
    for ring, port in [("account", 6202), ("container", 6201), ("object", 6200)]:
        builder = str(work / f"{ring}.builder")
        tool = [str(prefix / "bin/python"), str(prefix / "bin/swift-ring-builder"), builder]
        for words in [["create", "4", "1", "1"], ["add", f"r1z1-127.0.0.1:{port}/sda", "1"], ["rebalance"]]:
            subprocess.run([*tool, *words], check=True, capture_output=True)
    lines = ["[DEFAULT]", f"swift_dir = {work}", "[pipeline:main]",
             "pipeline = catch_errors gatekeeper healthcheck proxy-logging listing_formats container_sync bulk tempurl "
             "ratelimit tempauth copy container-quotas account-quotas slo dlo versioned_writes symlink proxy-server",
             "[app:proxy-server]", "paste.app_factory = services:swift_proxy", "account_autocreate = true",
             "[filter:tempauth]", "use = egg:swift#tempauth", "user_admin_admin = admin .admin .reseller_admin"]
    eggs = {"proxy-logging": "proxy_logging", "container-quotas": "container_quotas", "account-quotas": "account_quotas"}
    for name in ["catch_errors", "gatekeeper", "healthcheck", "proxy-logging", "listing_formats", "container_sync", "bulk",
                 "tempurl", "ratelimit", "copy", "container-quotas", "account-quotas", "slo", "dlo", "versioned_writes",
                 "symlink"]:
        lines += [f"[filter:{name}]", f"use = egg:swift#{eggs.get(name, name)}"]
    (work / "proxy-server.conf").write_text("\n".join(lines) + "\n")
    more = {"listen": ["--listen", "127.0.0.1:0"]}
    return work / "proxy-server.conf", "main", more, [
        ("GET", "/healthcheck", 200, ["OK"]),
        ("GET", "/info", 200, ["tempauth", "slo"]),
        ("GET", "/v1/AUTH_admin", 401, []),
    ]


SERVICES = {"basic": basic, "pyramid": pyramid, "glance": glance, "swift": swift}
main()
