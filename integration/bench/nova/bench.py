"""Nova behind Pasteway and behind other servers, side by side: requests per second, and CPU time per request.

The same two worker processes everywhere, the same Keystone, databases and files; rounds in turns. Of each figure the best
round counts: whatever else runs on the machine only makes it worse. Only ratios within one run mean anything. `run` beside this file brings up the services. Knows nothing of how a server works.
"""
import argparse
import contextlib
import fcntl
import glob
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

LARGE = 114688 + 1
PROCESSES = 2
START = 180
CEILING = 'nginx alone'


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
    """Seconds on a processor of a process and all below it, user and system, those that have ended among them."""
    ticks = 0
    for one in tree(pid):
        try:
            with open('/proc/%d/stat' % one) as file:
                # utime, stime, and those of the children that were waited for.
                ticks += sum(map(int, file.read().rpartition(')')[2].split()[11:15]))
        except OSError:
            pass  # It has ended in between.
    return ticks / os.sysconf('SC_CLK_TCK')


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

    def __init__(self, name, room, command, environment, requests):
        self.name, self.port, self.requests = name, free_port(), requests
        self.place = os.path.join(room, re.sub(r'\W+', '-', name))
        os.mkdir(self.place)
        self.log = os.path.join(self.place, 'log')
        with open(self.log, 'wb') as out:
            self.process = subprocess.Popen(command(self), env={**os.environ, **environment}, cwd=self.place, stdout=out,
                                            stderr=out, stdin=subprocess.DEVNULL)

    def wait(self, token):
        """Until it answers, and has answered enough for all its processes to have loaded what they need."""
        end = time.monotonic() + START
        first = list(self.requests)[-1]
        while ask(self.port, REQUESTS[first], token) != REQUESTS[first][4]:
            if time.monotonic() > end or self.process.poll() is not None:
                with open(self.log, errors='replace') as file:
                    raise SystemExit('%s does not start:\n%s' % (self.name, file.read()[-3000:]))
            time.sleep(0.2)
        for name in self.requests:
            request = REQUESTS[name]
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


def conf_of(nova, server, lines, sections=''):
    """This Nova's own nova.conf with other lines about listening and logging, in a directory of its own."""
    with open(nova['conf']) as file:
        text = re.sub(r'^(log_file|enabled_apis|osapi_compute_listen_port|osapi_compute_workers)\b.*\n', '', file.read(),
                      flags=re.M)
    own = ('enabled_apis = osapi_compute\nosapi_compute_listen = 127.0.0.1\nosapi_compute_listen_port = %d\n'
           'osapi_compute_workers = %d\n' % (server.port, PROCESSES))
    conf = os.path.join(server.place, 'etc', 'nova.conf')
    os.mkdir(os.path.dirname(conf))
    with open(conf, 'w') as file:
        file.write(text.replace('[DEFAULT]\n', '[DEFAULT]\n' + own + lines, 1) + sections)
    return conf


def pasteway(nova, program, threads):
    def command(server):
        conf = conf_of(nova, server, 'use_stderr = true\n',
                       '[pasteway]\nworker_kind = python\nworker_python = %s/bin/python\nworker_threads = %d\n'
                       'worker_start_timeout = 180\nadmin_listen = unix:%s/admin.sock\nruntime_dir = %s/run\n'
                       'access_log = false\n' % (nova['venv'], threads, server.place, server.place))
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


def eventlet(nova):
    return lambda server: [nova['venv'] + '/bin/nova-api', '--config-file', conf_of(nova, server, '')]


def nginx(server):
    """What this machine and this load allow: the same answers from a server that only has to know them."""
    conf = os.path.join(server.place, 'nginx.conf')
    with open(conf, 'w') as file:
        file.write(NGINX % {'place': server.place, 'port': server.port, 'processes': PROCESSES, 'most': LARGE - 1})
    return ['nginx', '-c', conf, '-p', server.place, '-e', 'stderr']


NGINX = """
daemon off;
worker_processes %(processes)d;
pid %(place)s/pid;
events { worker_connections 256; }
http {
    access_log off;
    keepalive_requests 1000000000;
    client_max_body_size %(most)d;
    default_type application/json;
    client_body_temp_path %(place)s; proxy_temp_path %(place)s; fastcgi_temp_path %(place)s;
    uwsgi_temp_path %(place)s; scgi_temp_path %(place)s;
    server {
        listen 127.0.0.1:%(port)d;
        location = / { return 200 '{"versions": []}'; }
        location = /v2.1/servers { root %(place)s; }
        location = /v2.1/flavors { return 401 '{"error": {"code": 401}}'; }
    }
}
"""


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
    errors = re.search(r'Socket errors: (.*)', out.stdout)
    if errors and not request == REQUESTS['413']:
        print('%s: %s' % (server.name, errors[1]), file=sys.stderr)
    if not count or wrong:
        print('%s: %d of %d answers were wrong' % (server.name, wrong, count), file=sys.stderr)
        return None
    return count / seconds, spent / count * 1000


def show(seen, servers):
    names = [server.name for server in servers]
    rounds = {key: list(zip(*filter(None, values))) for key, values in seen.items() if any(values)}
    best = {key: (max(rates), min(costs)) for key, (rates, costs) in rounds.items()}
    print('\n| requests/s, CPU ms each | ' + ' | '.join(REQUESTS) + ' |')
    print('|---|' + '--:|' * len(REQUESTS))
    for name in names:
        cells = ['%.0f, %.4f' % tuple(best[request, name]) if (request, name) in best else '-' for request in REQUESTS]
        print('| %s | %s |' % (name, ' | '.join(cells)))
    print('\n`xN`: N threads in each of the %d worker processes.\n' % PROCESSES)
    for request in REQUESTS:
        peers = {name: best[request, name] for name in names
                 if not name.startswith(('pasteway', CEILING)) and (request, name) in best}
        for name in [name for name in names if name.startswith('pasteway')] if peers else []:
            if (request, name) in best:
                print('- ' + verdict(request, name, best[request, name], peers, best.get((request, CEILING))))


def verdict(request, name, seen, peers, ceiling):
    """How far from its bar."""
    (rate, cost), cheapest = seen, min(peers, key=lambda peer: peers[peer][1])
    if request == 'flavors':
        bar = 0.8 if name.endswith(' x1') else 0.9
        ratio, least = cost / peers[cheapest][1], peers[cheapest][1]
        return ('%s, %s: %.3f x the CPU of the best, %s, %.3f ms (bar: at most %.1f): %s'
                % (request, name, ratio, cheapest, least, bar, 'met' if ratio <= bar else 'NOT MET'))
    fastest = max(peers, key=lambda peer: peers[peer][0])
    ratio = rate / peers[fastest][0]
    said = ('%s, %s: %.1f x the requests/s of the best, %s (bar: at least 50): %s; CPU 1/%.0f of the best'
            % (request, name, ratio, fastest, 'met' if ratio >= 50 else 'NOT MET', peers[cheapest][1] / cost))
    if ceiling:
        said += '; %.2f of what %s answers, whose own ratio is %.1f' % (
            rate / ceiling[0], CEILING, ceiling[0] / peers[fastest][0])
    return said


@contextlib.contextmanager
def held(path):
    """Holds a file's lock, so that others on this machine can keep out of the measurement."""
    with open(path or os.devnull, 'a') as file:
        if path:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--pasteway', required=True, help='the program, built for release')
    parser.add_argument('--uwsgi', required=True, help="the program, built for the Python of Nova's environment")
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seconds', type=int, default=4)
    parser.add_argument('--requests', default=','.join(REQUESTS), help='which, with commas')
    parser.add_argument('--connections', type=int, default=8)
    parser.add_argument('--lock', help='a file whose lock is held during each round')
    parser.add_argument('--only', default='', help='servers whose names begin so, with commas')
    options = parser.parse_args()
    options.pasteway = os.path.abspath(options.pasteway)
    # Whoever ends the run ends the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if not shutil.which('wrk'):
        raise SystemExit('wrk is needed: apt-get install --no-install-recommends wrk')
    with open(os.path.join(os.environ['PASTEWAY_STACK'], 'stack.json')) as file:
        facts = json.load(file)
    now, older = facts['nova'], facts.get('nova31')
    current = now['environment']['compute']
    kinds = [('pasteway x%d' % n, pasteway(now, options.pasteway, n), {}, REQUESTS) for n in (1, 4)]
    if older:
        kinds += [('pasteway, Nova 31 x%d' % n, pasteway(older, options.pasteway, n), {}, REQUESTS) for n in (1, 4)]
    kinds += [('gunicorn x%d' % n, gunicorn(facts, n), current, REQUESTS) for n in (1, 4)]
    kinds += [('uwsgi x%d' % n, uwsgi(facts, options.uwsgi, n), current, REQUESTS) for n in (1, 4)]
    if older:
        kinds.append(('nova-api 31', eventlet(older), {'OS_NOVA_CONFIG_DIR': older['etc']}, REQUESTS))
    if shutil.which('nginx'):
        kinds.append((CEILING, nginx, {}, [name for name in REQUESTS if name != 'flavors']))
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
                with held(options.lock):
                    print('round %d: load average %s' % (turn + 1, os.getloadavg()[0]), file=sys.stderr)
                    for name in options.requests.split(','):
                        for server in servers[turn % len(servers):] + servers[:turn % len(servers)]:
                            if name in server.requests:
                                one = load(server, REQUESTS[name], token, options.seconds, options.connections, room)
                                seen.setdefault((name, server.name), []).append(one)
            show(seen, servers)
        finally:
            for server in servers:
                server.end()


if __name__ == '__main__':
    main()
