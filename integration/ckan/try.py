"""CKAN under gunicorn and behind Pasteway, each with a copy of the same database, by the same requests.

Usage: try.py PASTEWAY, with the Python of CKAN's virtualenv
"""

import contextlib
import http.client
import json
import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "paste_services"))
from twice import PATIENCE, Visitor, compare, multipart, served

BIN = pathlib.Path(sys.executable).absolute().parent
# Ids, times, tags of files that each has made for itself, and the tokens of forms.
MASKS = [r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?", r"\d\d:\d\d \(UTC\)",
         r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", r'"\d+\.\d+-\d+-\d+"', r"I[\w-]{40,}\.[\w-]{6}\.[\w-]{27}"]


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    work = pathlib.Path(tempfile.mkdtemp(prefix="pw-"))
    try:
        with contextlib.ExitStack() as stack:
            trial(binary, work, stack)
    finally:
        shutil.rmtree(work)


def trial(binary, work, stack):
    database, redis, solr, port = [free_port() for _ in range(4)]
    work.chmod(0o755)
    postgres(work, database, stack)
    start(stack, work, "redis", ["redis-server", "--port", redis, "--bind", "127.0.0.1", "--save", "", "--dir", work], redis)
    schema = next(BIN.parent.glob("lib/python*/site-packages/ckan/config/solr/schema.xml"))
    start(stack, work, "solr", [sys.executable, HERE / "solr.py", solr, schema], solr)

    ini = work / "ckan.ini"
    ckan = BIN / "ckan"
    environment = lambda name: dict(
        os.environ, CKAN_INI=str(ini), PYTHONPATH=str(HERE), PYTHONDONTWRITEBYTECODE="1",
        CKAN_SITE_URL=f"http://127.0.0.1:{port}", CKAN_SQLALCHEMY_URL=f"postgresql://ckan@127.0.0.1:{database}/{name}",
        CKAN_REDIS_URL=f"redis://127.0.0.1:{redis}/{int(name == 'ours')}", CKAN_SOLR_URL=f"http://127.0.0.1:{solr}/solr/{name}",
        CKAN_STORAGE_PATH=str(work / name))
    run = lambda *words: subprocess.run([str(word) for word in words], env=environment("base"), check=True, capture_output=True, text=True).stdout
    sql = lambda text: run("psql", "-q", "-h", "127.0.0.1", "-p", database, "-U", "ckan", "-d", "postgres", "-c", text)
    sql("CREATE DATABASE base ENCODING 'utf-8' TEMPLATE template0")
    # What it says of addresses and passwords, the environment says otherwise; the file stays as CKAN wrote it.
    run(ckan, "generate", "config", ini)
    run(ckan, "db", "init")
    run(ckan, "user", "add", "admin", "email=admin@example.org", "password=correct-horse")
    run(ckan, "sysadmin", "add", "admin")
    token = run(ckan, "user", "token", "add", "admin", "trial", "-q").split()[-1]
    for name in ["own", "ours"]:
        sql(f"CREATE DATABASE {name} TEMPLATE base")

    conf = work / "pasteway.conf"
    settings = f"[pasteway]\nruntime_dir = {work}/run\nadmin_listen = unix:{work}/admin\nworker_python = {sys.executable}\n"
    serve = [binary, "--config-file", conf, "serve", "--paste", ini, "--name", "main", "--listen", f"127.0.0.1:{port}"]
    # `use = egg:ckan` stands there, but CKAN has had no factory of that name since 2.10.
    conf.write_text(settings)
    refused = subprocess.run([str(word) for word in serve], env=environment("ours"), capture_output=True, text=True, timeout=PATIENCE)
    assert refused.returncode == 1 and "Entry point 'main' not found in egg 'ckan'" in refused.stderr, refused
    conf.write_text(settings + "worker_app = ckan_wsgi:application\n")

    gunicorn = [BIN / "gunicorn", "-w", "1", "--threads", "4", "-b", f"127.0.0.1:{port}", "ckan_wsgi:application"]
    answers = {}
    with served(gunicorn, port, work / "log-own", env=environment("own")):
        answers["own"] = asked(port, token)
    with served(serve, port, work / "log-ours", env=environment("ours")):
        answers["ours"] = asked(port, token)
        compare(answers["own"], answers["ours"], MASKS)
        print(f"ckan: {len(answers['own'])} answers are the same")
        edited(ini, work, Visitor(port))
    print("ckan: ok")


def asked(port, token):
    """The answers, by what was asked."""
    visitor, answers = Visitor(port), {}
    key = {"Authorization": token}

    def ask(name, status, method, path, body=None, **headers):
        if isinstance(body, dict):
            body, headers["Content_Type"] = json.dumps(body), "application/json"
        answer = answers[name] = visitor.ask(method, path, body, **headers)
        assert answer.status == status, (name, answer)
        return answer

    action = "/api/3/action/"
    home = ask("home", 200, "GET", "/").body.decode()
    for page in ["dataset", "organization", "group", "about", "user/login"]:
        ask(page, 200, "GET", f"/{page}/" if page in ("dataset", "organization", "group") else f"/{page}")
    ask("no page", 404, "GET", "/nowhere")
    ask("a page for those who are in", 302, "GET", "/dashboard/datasets")
    ask("a static file", 200, "GET", "/base/images/ckan-logo-footer.png")
    ask("its head", 200, "HEAD", "/base/images/ckan-logo-footer.png")
    ask("no static file", 404, "GET", "/base/images/none.png")
    ask("a style", 200, "GET", re.search(r'href="(/webassets/[^"]+\.css[^"]*)"', home).group(1))
    ask("the api", 200, "GET", "/api/3")
    ask("status", 200, "GET", action + "status_show")
    ask("no action", 400, "GET", action + "no_such")
    ask("not JSON", 400, "POST", action + "package_create", "{", Content_Type="application/json", **key)
    ask("who may not", 403, "POST", action + "package_create", {"name": "one"})
    ask("an organization", 200, "POST", action + "organization_create", {"name": "house"}, **key)
    package = {"name": "one", "title": "Eins, zwölf", "owner_org": "house", "tags": [{"name": "tag"}]}
    ask("a package", 200, "POST", action + "package_create", package, **key)
    ask("the same package", 409, "POST", action + "package_create", package, **key)
    ask("the package", 200, "GET", action + "package_show?id=one")
    ask("no package", 404, "GET", action + "package_show?id=two")
    ask("its page", 200, "GET", "/dataset/one")
    text = "a,b\n" + "1,2\n" * 200000
    form, form_headers = multipart({"package_id": "one", "name": "Größe", "format": "CSV"}, {"upload": text})
    resource = json.loads(ask("an upload", 200, "POST", action + "resource_create", form, **form_headers, **key).body)["result"]
    download = ask("a download", 200, "GET", "/" + resource["url"].split("/", 3)[3])
    assert download.body == text.encode()
    ask("a patch", 200, "POST", action + "package_patch", {"id": "one", "notes": "**bold**"}, **key)
    ask("a search", 200, "GET", action + "package_search?q=zw%C3%B6lf&rows=5")
    urlencoded = {"Content_Type": "application/x-www-form-urlencoded"}
    ask("a wrong password", 200, "POST", "/user/login", "login=admin&password=wrong", **urlencoded)
    ask("the right one", 302, "POST", "/user/login", "login=admin&password=correct-horse", **urlencoded)
    ask("who is in", 200, "GET", "/dashboard/datasets")
    ask("administration", 200, "GET", "/ckan-admin/")
    page = ask("a form", 200, "GET", "/group/new").body.decode()
    group, csrf = "title=Gruppe+%C3%9C&name=gruppe&save=", re.search(r'name="_csrf_token"[^>]*value="([^"]+)"', page).group(1)
    ask("a form without its token", 400, "POST", "/group/new", group, **urlencoded)
    ask("a form with it", 302, "POST", "/group/new", f"{group}&_csrf_token={csrf}", **urlencoded)
    ask("what it made", 200, "GET", "/group/gruppe")
    ask("out", 302, "GET", "/user/_logout")
    ask("who was in", 302, "GET", "/dashboard/datasets")
    ask("a deletion", 200, "POST", action + "package_delete", {"id": "one"}, **key)
    return answers


def edited(ini, work, visitor):
    """Edits of CKAN's file while requests go on: one that it takes, and one that it does not."""
    edit = lambda old, new: ini.write_text(ini.read_text().replace(old, new))
    edit("ckan.site_title = CKAN", "ckan.site_title = Another")
    until(visitor, "Another")
    edit("ckan.datasets_per_page = 20", "ckan.datasets_per_page = many")
    deadline = time.monotonic() + PATIENCE
    while "Please enter an integer value" not in (said := json.dumps(admin(work, "GET", "/status"))):
        assert time.monotonic() < deadline, said
        assert title(visitor) == "Another"
        time.sleep(0.1)
    assert title(visitor) == "Another"
    edit("ckan.datasets_per_page = many", "ckan.datasets_per_page = 10")
    edit("Another", "Third")
    until(visitor, "Third")


def until(visitor, wanted):
    """Asks until the title is this one; no request may fail meanwhile."""
    deadline = time.monotonic() + PATIENCE
    while title(visitor) != wanted:
        assert time.monotonic() < deadline, wanted
        time.sleep(0.05)


def title(visitor):
    return json.loads(visitor.ask("GET", "/api/3/action/status_show").body)["result"]["site_title"]


def admin(work, method, path):
    connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(work / "admin"))
    connection.request(method, path)
    return json.loads(connection.getresponse().read())


def postgres(work, port, stack):
    """A PostgreSQL of its own, which does not run as root."""
    bin = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    home, user = work / "pg", {}
    home.mkdir()
    if os.getuid() == 0:
        who = pwd.getpwnam("postgres")
        os.chown(home, who.pw_uid, who.pw_gid)
        user = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
    subprocess.run([bin / "initdb", "-D", home / "data", "-A", "trust", "-U", "ckan"], check=True, capture_output=True, cwd=home, **user)
    options = ["-D", home / "data", "-k", home, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    start(stack, work, "postgres", [bin / "postgres", *options], port, cwd=home, **user)


def start(stack, work, name, command, port, **options):
    """A server until the end, from when its port is open."""
    log = stack.enter_context(open(work / f"log-{name}", "w"))
    process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL, **options)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None and time.monotonic() < deadline, (name, open(log.name).read()[-3000:])
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


main()
