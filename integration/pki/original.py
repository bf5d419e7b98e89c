"""original.py VECTORS: what auth_token of the keystoneclient or keystonemiddleware that this Python finds makes of
VECTORS/scenarios.json, and what it asks Keystone for, as JSON.

Runs in Python 2.7, with openssl on the path.
"""
from __future__ import print_function

import BaseHTTPServer
import hashlib
import json
import os
import SocketServer
import shutil
import sys
import tempfile
import threading

try:
    from keystonemiddleware import auth_token
except ImportError:
    from keystoneclient.middleware import auth_token

VECTORS = sys.argv[1]


def vector(name):
    with open(os.path.join(VECTORS, name)) as vector:
        return vector.read()


def content(text):
    if text.startswith('@'):
        return vector(text[1:])
    if text.startswith('signed:'):
        return json.dumps({'signed': vector(text[7:])})
    return text


class Keystone(SocketServer.ThreadingMixIn, BaseHTTPServer.HTTPServer):
    daemon_threads = True
    answers, calls, logins = {}, [], 0

    def handle_error(self, *_):
        """Whoever asked has gone."""

    def answer(self, line, token):
        answer = self.answers.get(line)
        if isinstance(answer, dict):
            answer = answer.get(token, answer['else'])
        if answer is not None:
            return answer[0], content(answer[1])
        if line == 'GET /':
            versions = [{'id': name, 'status': 'stable', 'links': [{'rel': 'self', 'href': 'http://keystone/%s/' % name}]}
                        for name in ('v2.0', 'v3.0')]
            return 300, json.dumps({'versions': {'values': versions}})
        if line == 'POST /v2.0/tokens':
            self.logins += 1
            token = {'id': 'admin%d' % self.logins, 'expires': '2099-01-02T03:04:05Z'}
            return 200, json.dumps({'access': {'token': token}})
        return 404, '{}'


class Handler(BaseHTTPServer.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.rfile.read(int(self.headers.get('content-length') or 0))
        line, token = '%s %s' % (self.command, self.path), self.headers.get('x-auth-token')
        self.server.calls.append([line, token, self.headers.get('accept'), self.headers.get('content-type')])
        status, body = self.server.answer(line, token)
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET


def token_of(step):
    if not isinstance(step, dict):
        return vector(step + '.token')
    if 'raw' in step:
        return step['raw']
    if 'changed' in step:
        token = vector(step['changed'] + '.token')
        return token[:400] + ('A' if token[400] != 'A' else 'B') + token[401:]
    if 'slashed' in step:
        return vector(step['slashed'] + '.token').replace('-', '/')
    for name in ('md5', 'sha256'):
        if name in step:
            return hashlib.new(name, vector(step[name] + '.token')).hexdigest()


def ask(filtered, token, keystone):
    told, first = {}, len(keystone.calls)

    def start(status, headers, exc_info=None):
        # A length is what WebOb adds.
        headers = [(name.lower(), value) for name, value in headers]
        told['status'], told['headers'] = status, sorted(pair for pair in headers if pair[0] != 'content-length')

    environ = {'REQUEST_METHOD': 'GET', 'SCRIPT_NAME': '', 'PATH_INFO': '/', 'HTTP_X_AUTH_TOKEN': token}
    try:
        told['body'] = ''.join(filtered(environ, start))
    except Exception as error:
        told['raised'] = type(error).__name__
    if told.get('body') == 'passed':
        del told['headers'], told['body'], told['status']
        told['environ'] = {key: value for key, value in environ.items() if key.startswith('HTTP_X_')}
        del told['environ']['HTTP_X_AUTH_TOKEN']
    told['calls'] = keystone.calls[first:]
    return told


def app(environ, start):
    start('200 OK', [])
    return ['passed']


def play(scenario, sets, keystone):
    room = tempfile.mkdtemp()
    keystone.answers, keystone.calls, keystone.logins = {}, [], 0
    for name in scenario.get('sets', []):
        keystone.answers.update(sets[name])
    keystone.answers.update(scenario.get('answers', {}))
    for name, text in scenario.get('files', {}).items():
        with open(os.path.join(room, name), 'w') as file:
            file.write(content(text))
    options = {
        'auth_host': '127.0.0.1', 'auth_port': 1 if scenario.get('down') else keystone.server_port,
        'auth_protocol': 'http', 'auth_uri': 'http://keystone:5000', 'auth_version': 'v2.0', 'admin_user': 'nova',
        'admin_password': 's3cret', 'admin_tenant_name': 'service', 'signing_dir': room, 'revocation_cache_time': 300,
        'http_request_max_retries': 0,
    }
    options.update(scenario.get('options', {}))
    CONF([], project='keystonemiddleware')
    # What an old release does not know it does not miss.
    conf = {name: value for name, value in scenario.get('conf', {}).items() if name in CONF.keystone_authtoken}
    for name, value in conf.items():
        CONF.set_override(name, value, group='keystone_authtoken')
    filtered = auth_token.filter_factory(options)(app)
    steps = []
    for step in scenario['steps']:
        if isinstance(step, dict) and 'answers' in step:
            keystone.answers.update(step['answers'])
        elif isinstance(step, dict) and 'remove' in step:
            os.unlink(os.path.join(room, step['remove']))
        elif isinstance(step, dict) and 'copy' in step:
            with open(os.path.join(room, step['copy'][1]), 'w') as file:
                file.write(vector(step['copy'][0]))
        else:
            steps.append(ask(filtered, token_of(step), keystone))
    for name in conf:
        CONF.clear_override(name, group='keystone_authtoken')
    files = sorted(os.listdir(room))
    shutil.rmtree(room)
    return {'name': scenario['name'], 'steps': steps, 'files': files}


CONF = getattr(auth_token, 'CONF', None)
if CONF is None:
    from oslo_config.cfg import CONF
script = json.loads(vector('scenarios.json'))
keystone = Keystone(('127.0.0.1', 0), Handler)
serving = threading.Thread(target=keystone.serve_forever)
serving.daemon = True
serving.start()
seen = [play(scenario, script['sets'], keystone) for scenario in script['scenarios']]
print('[\n' + ',\n'.join(json.dumps(scenario, sort_keys=True) for scenario in seen) + '\n]')
