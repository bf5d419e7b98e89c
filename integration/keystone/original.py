"""original.py PASTE CONF...: the real pipeline of PASTE once for each nova.conf, an echo in the place of its apps.

Prints the port of each, a line each, and ends with its standard input. Every word of an answer but the echo's is the
real filters': nova's, oslo.middleware's, keystonemiddleware's, loaded by the real PasteDeploy.
"""
import json
import os
import re
import signal
import socketserver
import sys
from wsgiref import simple_server

paste, confs = sys.argv[1], sys.argv[2:]
sys.argv = ['original']
sys.modules['original'] = sys.modules['__main__']

# Loaded once, before the forks: they take seconds.
import keystonemiddleware.auth_token  # noqa: E402,F401
import nova.api.auth  # noqa: E402,F401
import nova.api.openstack  # noqa: E402,F401
import nova.api.openstack.compute.versions  # noqa: E402,F401
import nova.api.openstack.urlmap  # noqa: E402,F401
from nova import config  # noqa: E402
from paste import deploy  # noqa: E402


def echo(environ, start_response):
    seen = {key: value for key, value in environ.items() if key.startswith('HTTP_')}
    seen['PATH_INFO'], seen['SCRIPT_NAME'] = environ['PATH_INFO'], environ['SCRIPT_NAME']
    seen['token_info'] = environ.get('keystone.token_info')
    body = json.dumps(seen).encode()
    # The same drill as the stand-in's: an app that answers with this status.
    status = re.search(r'pasteway\.status=(\d+)', environ['QUERY_STRING'])
    start_response('%s Drilled' % (status.group(1) if status else 200), [
        ('X-Echo', '1'), ('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]


def app_factory(global_conf, **local_conf):
    return echo


def passing(global_conf, **local_conf):
    """A filter that does nothing, for what the other side leaves to its app."""
    return lambda app: app


class Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class Handler(simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        pass


def serve(conf, ready):
    with open(paste) as file:
        text = re.sub(r'(?m)^paste\.app_factory *=.*$', 'paste.app_factory = original:app_factory', file.read())
    changed = conf + '.paste.ini'
    with open(changed, 'w') as file:
        file.write(text)
    config.parse_args(sys.argv, default_config_files=[conf])
    app = deploy.loadapp('config:' + os.path.abspath(changed), name='osapi_compute')
    server = simple_server.make_server('127.0.0.1', 0, app, Server, Handler)
    os.write(ready, b'%d\n' % server.server_port)
    os.close(ready)
    server.serve_forever()


children, pipes = [], []
for conf in confs:
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(readable)
        try:
            serve(conf, writable)
        finally:
            os._exit(1)
    os.close(writable)
    children.append(pid)
    pipes.append(readable)
try:
    for readable in pipes:
        port = os.read(readable, 16)
        if not port:
            sys.exit('one of the pipelines cannot be loaded')
        os.write(1, port)
    sys.stdin.read()
finally:
    for pid in children:
        os.kill(pid, signal.SIGKILL)
