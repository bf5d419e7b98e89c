"""A Pylons project as Pylons makes it, under `paster serve` and behind `pasteway serve --paste`, by the same requests.

Usage: try.py PASTEWAY PROJECT, with the Python of the virtualenv in which the project is installed
"""

import pathlib
import re
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from twice import PATIENCE, Visitor, compare, multipart, served

# As Pylons' template has it; both servers read it from [server:main].
PORT = 5000


def main():
    binary, project = [pathlib.Path(argument).resolve() for argument in sys.argv[1:]]
    bin = pathlib.Path(sys.executable).absolute().parent
    work = pathlib.Path(tempfile.mkdtemp(prefix="pw-"))
    conf = work / "pasteway.conf"
    conf.write_text(f"[pasteway]\nruntime_dir = {work}/r\nadmin_listen = unix:{work}/admin\nworker_python = {bin}/python\n")
    for ini in ["development.ini", "production.ini"]:
        answers = {}
        for name, command in {
            "own": [bin / "python", "-W", "ignore", bin / "paster", "serve", ini],
            "ours": [binary, "--config-file", conf, "serve", "--paste", ini, "--name", "main"],
        }.items():
            shutil.rmtree(project / "data", ignore_errors=True)
            with served(command, PORT, work / name, cwd=project):
                answers[name] = asked()
            assert re.search(r"INFO +\[trial\.controllers\.hello\] .*hello to Zoë", (work / name).read_text()) or ini != "development.ini"
        # The debugger's pages show the environ and the server's own frames: of them, status and last line.
        pages = {name: debugged(answers[name]) for name in answers}
        assert pages["own"] == pages["ours"] and len(pages["own"]) == (2 if ini == "development.ini" else 0), pages
        compare(answers["own"], answers["ours"])
        print(f"pylons, {ini}: {len(answers['own'])} answers are the same, and {len(pages['own'])} pages of the debugger")
    edited(binary, conf, project, work)


def debugged(answers):
    """The pages of the debugger, which are taken out: status and exception by their names."""
    names = [name for name, answer in answers.items() if "x-debug-url" in {name.lower() for name, _ in answer.headers}]
    said = re.compile(rb"^(?:\w+\.)*\w+(?:Error|Exception): .*$", re.MULTILINE)
    return {name: (page.status, said.findall(page.body)[-1]) for name, page in ((name, answers.pop(name)) for name in names)}


def asked():
    """The answers, by what was asked."""
    visitor = Visitor(PORT)
    ask, answers = visitor.ask, {}
    form, form_headers = multipart({"title": "T"}, {"file": "x" * 300000})
    for name, request in {
        "a static page": ("GET", "/"),
        "a static file": ("GET", "/pylons-logo.gif"),
        "a static file's head": ("HEAD", "/pylons-logo.gif"),
        "a template": ("GET", "/hello/index?name=%3CZo%C3%AB%3E&name=Zo%C3%AB"),
        "its head": ("HEAD", "/hello/index"),
        "a session": ("GET", "/hello/count"),
        "the session again": ("GET", "/hello/count"),
        "a form": ("POST", "/hello/form", b"title=a+b", {"Content_Type": "application/x-www-form-urlencoded"}),
        "an upload": ("POST", "/hello/form", form, form_headers),
        "no form": ("GET", "/hello/form"),
        "a redirect": ("GET", "/hello/go"),
        "a stream": ("GET", "/hello/stream"),
        "no content": ("GET", "/hello/nothing"),
        "forbidden": ("GET", "/hello/forbidden"),
        "no such file": ("GET", "/nowhere"),
        "no such action": ("GET", "/hello/there"),
        # Two slashes in a row and bytes above ASCII are not among it: of them Paste's server makes something else.
        "a strange path": ("GET", "/hello/index/%25%20?%00=%20"),
        "the error page's style": ("GET", "/error/style/black.css"),
        "an exception": ("GET", "/hello/fail"),
    }.items():
        method, path, *rest = request
        body, headers = rest or (None, {})
        answers[name] = ask(method, path, body, **headers)
    tag = next(value for name, value in answers["a static file"].headers if name.lower() == "etag")
    answers["nothing new"] = ask("GET", "/pylons-logo.gif", If_None_Match=tag)
    answers["a range"] = ask("GET", "/pylons-logo.gif", Range="bytes=10-19")
    assert answers["the session again"].body == b"visit 2" and answers["nothing new"].status == 304, answers
    assert b"Server Error 403" in answers["forbidden"].body and len(answers["a stream"].body) == 108890
    return answers


def edited(binary, conf, project, work):
    """`debug` is switched off while the front runs: the next page is the public's, and the session is still there."""
    ini = project / "edited.ini"
    shutil.copy(project / "development.ini", ini)
    with served([binary, "--config-file", conf, "serve", "--paste", ini], PORT, work / "edited", cwd=project):
        visitor = Visitor(PORT)
        visitor.ask("GET", "/hello/count")
        assert b"it failed" in visitor.ask("GET", "/hello/fail").body
        ini.write_text(ini.read_text().replace("#set debug", "set debug"))
        deadline = time.monotonic() + PATIENCE
        while b"it failed" in (answer := visitor.ask("GET", "/hello/fail")).body:
            assert time.monotonic() < deadline, answer
            time.sleep(0.1)
        assert answer.status == 500 and b"Server Error 500" in answer.body, answer
        assert visitor.ask("GET", "/hello/count").body == b"visit 2"
    print("pylons, edited: ok")


main()
