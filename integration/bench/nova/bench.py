"""Nova behind Pasteway and behind other servers, side by side: requests per second, and CPU time per request.

The same two worker processes everywhere, the same Keystone, databases and files; rounds in turns, medians. Only ratios
within one run mean anything. `run` beside this file brings up the services. Knows nothing of how a server works.
"""
import argparse
import glob
import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

LARGE = 114688 + 1
PROCESSES = 2
START = 180


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def tree(pid):
    """A process and all below it."""
    found = [pid]
    for path in glob.glob('/proc/%d/task/*/children' % pid):
        try:
            with open(path) as file:
                found += [below for child in file.read().split() for below in tree(int(child))]
        except OSError:
            pass  # It has ended in between.
    return found


def cpu(pid):
    """Seconds on a processor of a process and all below it, user and system."""
    nanos = 0
    for one in tree(pid):
        for path in glob.glob('/proc/%d/task/*/schedstat' % one):
            try:
                with open(path) as file:
                    nanos += int(file.read().split()[0])
            except OSError:
                pass
    return nanos / 1e9


def ask(port, request, token):
    """The status of one request."""
    method, path, body, authorised, _ = request
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    try:
        connection.request(method, path, body, {'X-Auth-Token': token} if authorised else {})
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


# method, path, body, with a token, status
REQUESTS = {
    'GET /': ('GET', '/', None, False, 200),
    '401': ('GET', '/v2.1/flavors', None, False, 401),
    '413': ('POST', '/v2.1/servers', b' ' * LARGE, True, 413),
    'flavors': ('GET', '/v2.1/flavors', None, True, 200),
}


class Server:
    """A server of Nova's compute API; `command` is made for a port."""

    def __init__(self, name, room, command, environment):
        self.name, self.port = name, free_port()
        self.place = os.path.join(room, re.sub(r'\W+', '-', name))
        os.mkdir(self.place)
        self.log = os.path.join(self.place, 'log')
        with open(self.log, 'wb') as out:
            self.process = subprocess.Popen(command(self), env={**os.environ, **environment}, cwd=self.place, stdout=out,
                                            stderr=out, stdin=subprocess.DEVNULL)

    def wait(self, token):
        """Until it answers, and has answered enough for all its processes to have loaded what they need."""
        end = time.monotonic() + START
        while ask(self.port, REQUESTS['flavors'], token) != 200:
            if time.monotonic() > end or self.process.poll() is not None:
                with open(self.log, errors='replace') as file:
                    raise SystemExit('%s does not start:\n%s' % (self.name, file.read()[-3000:]))
            time.sleep(0.2)
        for name, request in REQUESTS.items():
            seen = {ask(self.port, request, token) for _ in range(10)}
            if seen - {request[4], None} or request[4] not in seen:
                raise SystemExit('%s answers %s with %s' % (self.name, name, seen))

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            for pid in reversed(tree(self.process.pid)):
                os.kill(pid, 9)
            self.process.wait()


def pasteway(facts, program, threads):
    nova = facts['nova']

    def command(server):
        with open(nova['conf']) as file:
            text = file.read()
        own = ('enabled_apis = osapi_compute\nosapi_compute_listen = 127.0.0.1\nosapi_compute_listen_port = %d\n'
               'osapi_compute_workers = %d\nuse_stderr = true\n' % (server.port, PROCESSES))
        text = re.sub(r'^log_file.*\n', '', text, flags=re.M).replace('[DEFAULT]\n', '[DEFAULT]\n' + own, 1)
        text += ('[pasteway]\nworker_kind = python\nworker_python = %s/bin/python\nworker_threads = %d\n'
                 'worker_start_timeout = 180\nadmin_listen = unix:%s/admin.sock\nruntime_dir = %s/run\naccess_log = false\n'
                 % (nova['venv'], threads, server.place, server.place))
        conf = os.path.join(server.place, 'nova.conf')
        with open(conf, 'w') as file:
            file.write(text)
        return [program, 'serve', '--config-file', conf]
    return command


def gunicorn(facts, threads):
    line = list(facts['nova']['command'])
    for option, value in [('--workers', PROCESSES), ('--threads', threads)]:
        line[line.index(option) + 1] = str(value)
    return lambda server: [part.replace('{port}', str(server.port)) for part in line]


def uwsgi(facts, program, threads):
    nova = facts['nova']
    # It gives a thread to each kept connection, so it keeps none; wrk connects again.
    return lambda server: [
        program, '--http-socket', '127.0.0.1:%d' % server.port, '--master', '--processes', str(PROCESSES),
        '--threads', str(threads), '--enable-threads', '--lazy-apps', '--need-app', '--die-on-term', '--disable-logging',
        '--buffer-size', '65535',
        '--virtualenv', nova['venv'], '--module', 'nova.wsgi.osapi_compute:application']


def eventlet(facts):
    nova = facts['nova31']

    def command(server):
        with open(nova['conf']) as file:
            text = re.sub(r'^(log_file|enabled_apis|osapi_compute_listen_port|osapi_compute_workers)\b.*\n', '',
                          file.read(), flags=re.M)
        own = ('enabled_apis = osapi_compute\nosapi_compute_listen_port = %d\nosapi_compute_workers = %d\n'
               % (server.port, PROCESSES))
        conf = os.path.join(server.place, 'nova.conf')
        with open(conf, 'w') as file:
            file.write(text.replace('[DEFAULT]\n', '[DEFAULT]\n' + own, 1))
        return [nova['venv'] + '/bin/nova-api', '--config-file', conf]
    return command


def token_of(facts):
    keystone, user = facts['keystone'], 'demo'
    host, port = keystone['url'].split('/')[2].split(':')
    who = {'name': user, 'domain': {'id': 'default'}, 'password': keystone['users'][user]['password']}
    scope = {'project': {'id': keystone['projects']['demo']}}
    auth = {'auth': {'identity': {'methods': ['password'], 'password': {'user': who}}, 'scope': scope}}
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    connection.request('POST', '/v3/auth/tokens', json.dumps(auth), {'Content-Type': 'application/json'})
    answer = connection.getresponse()
    answer.read()
    return answer.getheader('X-Subject-Token')


def load(server, request, token, seconds, connections, room):
    """Requests per second and CPU milliseconds per request, as wrk and the kernel count them."""
    method, path, body, authorised, status = request
    script = os.path.join(room, 'request.lua')
    with open(script, 'w') as file:
        file.write('wrk.method = "%s"\n' % method)
        if authorised:
            file.write('wrk.headers["X-Auth-Token"] = "%s"\n' % token)
        if body:
            file.write('wrk.body = string.rep(" ", %d)\n' % len(body))
    before = cpu(server.process.pid)
    out = subprocess.run(['wrk', '-t1', '-c%d' % connections, '-d%ds' % seconds, '--timeout', '30s', '-s', script,
                          'http://127.0.0.1:%d%s' % (server.port, path)], capture_output=True, text=True, check=True)
    spent = cpu(server.process.pid) - before
    count = int(re.search(r'(\d+) requests in', out.stdout)[1])
    refused = re.search(r'Non-2xx or 3xx responses: (\d+)', out.stdout)
    wrong = int(refused[1]) if refused else 0
    if status >= 400:
        wrong = count - wrong
    if not count or wrong:
        print('%s: %d of %d answers were wrong' % (server.name, wrong, count), file=sys.stderr)
        return None
    return count / seconds, spent / count * 1000


def show(seen, servers):
    names = [server.name for server in servers]
    print('| request | ' + ' | '.join('%s: requests/s, CPU ms' % name for name in names) + ' |')
    print('|---|' + '--:|' * len(names))
    middle = {}
    for request in REQUESTS:
        cells = []
        for name in names:
            values = [value for value in seen[request, name] if value]
            middle[request, name] = [statistics.median(column) for column in zip(*values)] if values else None
            cells.append('%.0f, %.3f' % tuple(middle[request, name]) if values else '-')
        print('| %s | %s |' % (request, ' | '.join(cells)))
    ours = [name for name in names if name.startswith('pasteway')]
    others = [name for name in names if name not in ours]
    print('\n`xN`: N threads in each of the %d worker processes.\n' % PROCESSES)
    for request in REQUESTS:
        best = [middle[request, name] for name in others if middle[request, name]]
        for name in ours if best else []:
            if not middle[request, name]:
                continue
            rate, cost = middle[request, name]
            if request == 'flavors':
                bar = 0.8 if name.endswith(' x1') else 0.9
                ratio = cost / min(other[1] for other in best)
                print('- %s, %s: %.2f x the CPU of the best (bar: at most %.1f)%s'
                      % (request, name, ratio, bar, '' if ratio <= bar else ' MISSED'))
            else:
                ratio = rate / max(other[0] for other in best)
                print('- %s, %s: %.0f x the requests/s of the best (bar: at least 50)%s'
                      % (request, name, ratio, '' if ratio >= 50 else ' MISSED'))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--pasteway', required=True, help='the program, built for release')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--seconds', type=int, default=8)
    parser.add_argument('--connections', type=int, default=8)
    parser.add_argument('--only', default='', help='servers whose names begin so, with commas')
    options = parser.parse_args()
    # Whoever ends the run ends the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if not shutil.which('wrk'):
        raise SystemExit('wrk is needed: apt-get install --no-install-recommends wrk')
    with open(os.path.join(os.environ['PASTEWAY_STACK'], 'stack.json')) as file:
        facts = json.load(file)
    current = facts['nova']['environment']['compute']
    found = os.path.join(facts['nova']['venv'], 'bin', 'uwsgi')
    found = os.environ.get('PASTEWAY_UWSGI') or (found if os.path.exists(found) else shutil.which('uwsgi'))
    kinds = [('pasteway x1', pasteway(facts, options.pasteway, 1), {}),
             ('pasteway x4', pasteway(facts, options.pasteway, 4), {}),
             ('gunicorn x1', gunicorn(facts, 1), current),
             ('gunicorn x4', gunicorn(facts, 4), current)]
    if found:
        kinds += [('uwsgi x%d' % n, uwsgi(facts, found, n), current) for n in (1, 4)]
    if 'nova31' in facts:
        kinds.append(('nova-api 31', eventlet(facts), {'OS_NOVA_CONFIG_DIR': facts['nova31']['etc']}))
    if options.only:
        kinds = [kind for kind in kinds if kind[0].startswith(tuple(options.only.split(',')))]
    token, servers = token_of(facts), []
    with tempfile.TemporaryDirectory() as room:
        try:
            for kind in kinds:
                servers.append(Server(kind[0], room, *kind[1:]))
            for server in servers:
                server.wait(token)
                print('%s is up' % server.name, file=sys.stderr)
            seen = {}
            for turn in range(options.rounds):
                for name, request in REQUESTS.items():
                    for server in servers[turn % len(servers):] + servers[:turn % len(servers)]:
                        one = load(server, request, token, options.seconds, options.connections, room)
                        seen.setdefault((name, server.name), []).append(one)
            show(seen, servers)
        finally:
            for server in servers:
                server.end()


if __name__ == '__main__':
    main()
