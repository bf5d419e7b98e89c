"""The directory of the stack: its ports, its processes, and stack.json, which tells others about them.

Knows nothing of what the processes serve.
"""
import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

DIRECTORY = os.environ['PASTEWAY_STACK']
HERE = os.path.dirname(os.path.abspath(__file__))
BEGUN = float(os.environ.get('PASTEWAY_STACK_BEGUN', time.time()))


class Failed(Exception):
    """Something that cannot be made to run; the text says where to look."""


def say(text):
    print('stack: %3d s: %s' % (time.time() - BEGUN, text), flush=True)


def path(*parts):
    """A path in the directory; what leads to it is made."""
    whole = os.path.join(DIRECTORY, *parts)
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    return whole


def lock():
    """One at a time: held until this process ends."""
    file = open(path('lock'), 'w')
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def read():
    """What stack.json says; empty before the first start."""
    try:
        with open(path('stack.json')) as file:
            return json.load(file)
    except FileNotFoundError:
        return {'directory': DIRECTORY}


def write(facts):
    """Replaces stack.json at once: who reads it sees the old or the new."""
    new = path('stack.json.new')
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w') as file:
        json.dump(facts, file, indent=1)
        file.write('\n')
    os.replace(new, path('stack.json'))


def is_free(port):
    with socket.socket() as probe:
        # As servers do it: connections in TIME_WAIT take no port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True


def free_port(last=None):
    """The last one again if nobody has it, so that catalogues stay true; else any outside the ephemeral range."""
    if last and is_free(last):
        return last
    while True:
        port = random.randrange(20000, 32000)
        if is_free(port):
            return port


def run(argv, log, env=None, what=None):
    """Runs a command to its end; its output goes to log/LOG."""
    with open(path('log', log), 'ab') as out:
        done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=600)
    if done.returncode != 0:
        raise Failed('%s ended with %d: see %s' % (what or ' '.join(argv), done.returncode, path('log', log)))


def start(name, argv, env=None):
    """Starts a command that goes on, in a session of its own; returns how to find it again."""
    with open(path('log', name + '.log'), 'ab') as out:
        child = subprocess.Popen(argv, env=env, cwd=DIRECTORY, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                 start_new_session=True)
    return {'pid': child.pid, 'since': since(child.pid)}


def stat(pid):
    """The fields of /proc/PID/stat after the name; None when there is no such process."""
    try:
        with open('/proc/%d/stat' % pid) as file:
            return file.read().rpartition(')')[2].split()
    except OSError:
        return None


def own(environment):
    """What of an environment is the stack's, for those who start a process of it themselves."""
    return {key: value for key, value in environment.items() if key.startswith(('OS_', 'PASTEWAY_STACK', 'PYTHON'))}


def since(pid):
    """When a process began, in ticks since boot: a number that was given to another process does not fool us."""
    fields = stat(pid)
    return int(fields[19]) if fields else None


def lives(process):
    """Whether it is the process that was started, and no zombie."""
    fields = process and stat(process['pid'])
    return bool(fields) and fields[0] != 'Z' and int(fields[19]) == process['since']


def children(pid):
    found = []
    try:
        for task in os.listdir('/proc/%d/task' % pid):
            with open('/proc/%d/task/%s/children' % (pid, task)) as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass
    return [{'pid': child, 'since': since(child)} for child in found]


def end(process):
    """Ends a process that `start` started, and its children, by their ids: asked first, killed after 10 s."""
    if not lives(process):
        return
    family = [process] + children(process['pid'])

    def tell(what):
        for one in family:
            if lives(one):
                try:
                    os.kill(one['pid'], what)
                except ProcessLookupError:
                    pass

    tell(signal.SIGCONT)
    os.kill(process['pid'], signal.SIGTERM)
    deadline = time.time() + 10
    while any(lives(one) for one in family):
        if time.time() > deadline:
            tell(signal.SIGKILL)
        time.sleep(0.05)


def call(method, url, token=None, body=None, ok=(200, 201, 202, 204), timeout=60):
    """One request; JSON is sent and, where it comes, read: the body and the headers of the answer."""
    headers = {'Accept': 'application/json'}
    if token:
        headers['X-Auth-Token'] = token
    if body is not None:
        body = json.dumps(body).encode()
        headers['Content-Type'] = 'application/json'
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        answer = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        answer = error
    text = answer.read()
    if answer.status not in ok:
        raise Failed('%s %s: %d %s' % (method, url, answer.status, text[:300].decode(errors='replace')))
    is_json = answer.headers.get_content_type() == 'application/json'
    return (json.loads(text) if is_json and text else text), answer.headers


def wait(name, url, process):
    """Waits until something answers there, whatever it answers."""
    deadline = time.time() + 120
    while True:
        try:
            return call('GET', url, ok=range(600), timeout=10)
        except OSError as error:
            if not lives(process):
                raise Failed('%s ended: see %s' % (name, path('log', name + '.log')))
            if time.time() > deadline:
                raise Failed('%s does not answer at %s (%s): see %s' % (name, url, error, path('log', name + '.log')))
            time.sleep(0.1)


def gunicorn(venv, port, workers, threads, app):
    """The command that serves one of the `serve_*.py` beside this file."""
    return [
        os.path.join(venv, 'bin', 'gunicorn'), '--bind', '127.0.0.1:%s' % port, '--workers', str(workers),
        '--worker-class', 'gthread', '--threads', str(threads), '--keep-alive', '75', '--timeout', '120',
        # A token and its catalogue are one header line; the control socket would lie in the home directory.
        '--limit-request-field_size', '65535', '--no-control-socket', '--pythonpath', HERE, app,
    ]
