"""Apps and filters that the tests have the host serve."""

import json
import os
import threading
import time
from wsgiref.validate import validator


def trivial(global_conf, **local_conf):
    body, headers = b'{"flavors": []}', [('Content-Type', 'application/json'), ('Content-Length', '15')]

    def app(environ, start_response):
        start_response('200 OK', headers)
        return [body]
    return app


def shown(value):
    return value if value is None or isinstance(value, (str, int, float, bool, list, dict, tuple)) else repr(value)


def echo(global_conf, **local_conf):
    """Answers with what it sees."""
    def app(environ, start_response):
        told = {key: shown(value) for key, value in environ.items()}
        told['read'] = environ['wsgi.input'].read().decode('latin-1')
        told['local'], told['global'] = local_conf, dict(global_conf)
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [json.dumps(told).encode()]
    return app


def valid(global_conf, **local_conf):
    """Under PEP 3333's validator, which takes apps and servers to task."""
    def app(environ, start_response):
        data = environ['wsgi.input'].read(3) + environ['wsgi.input'].readline() + b''.join(environ['wsgi.input'])
        body = b'' if environ['REQUEST_METHOD'] == 'HEAD' else b'got ' + data
        start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(4 + len(data)))])
        return [body]
    return validator(app)


def policies(global_conf, **local_conf):
    """Answers with what an enforcer of policies was made to load."""
    from oslo_policy import policy

    def app(environ, start_response):
        enforcer = policy.Enforcer(file='policy.yaml', dirs='policy.d', **local_conf)
        enforcer.load_rules()
        enforcer.load_rules()
        enforcer.load_rules(True)
        enforcer.rules = {}
        enforcer.load_rules()
        enforcer.registered_rules['late'] = 1
        enforcer.load_rules()
        enforcer._need_check_rule = True
        enforcer.load_rules()
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [json.dumps(enforcer.loads).encode()]
    return app


def schemas(global_conf, service):
    """Answers with how many classes of jsonschema's were made."""
    import importlib

    from jsonschema import validators
    theirs = importlib.import_module(service + '.api.validation.validators')._SchemaValidator

    class Other(theirs):
        """Not known: it may check by what it was made with."""

    def app(environ, start_response):
        made = [theirs(relax).made for relax in (False, True) * 3]
        plain, bound = {'minimum': len}, {'minimum': theirs().minimum}
        others = [Other().made, Other().made, validators.extend(object, plain), validators.extend(object, plain),
                  validators.extend(object, bound, '1'), validators.extend(object, bound, version='1')]
        told = {'classes': len(set(made)), 'others': len(set(others)),
                'minimum': made[-1].minimum(7), 'soft': made[-1].additionalProperties()}
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [json.dumps(told).encode()]
    return app


def lines(global_conf, **local_conf):
    def app(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [repr(environ['wsgi.input'].readlines()).encode()]
    return app


closed = threading.Event()


class Closing:
    def __init__(self, pieces, wait=0):
        self.pieces, self.wait = iter(pieces), wait

    def __iter__(self):
        return self

    def __next__(self):
        time.sleep(self.wait)
        return next(self.pieces)

    def close(self):
        closed.set()


def forms(global_conf, **local_conf):
    """A response in the form that the path asks for."""
    def app(environ, start_response):
        form, text = environ['PATH_INFO'].strip('/'), [('Content-Type', 'text/plain')]
        if form == 'write':
            write = start_response('200 OK', text)
            write(b'written ')
            return [b'and returned']
        if form == 'generator':
            def body():
                start_response('202 Later', text)
                yield b''
                yield b'one '
                yield b'two'
            return body()
        if form == 'file':
            start_response('200 OK', text)
            return environ['wsgi.file_wrapper'](open(__file__, 'rb'))
        if form == 'large':
            start_response('200 OK', text)
            return [b'x' * 3000000]
        if form == 'nothing':
            start_response('204 No Content', [])
            return [b'must not be sent']
        if form == 'twice':
            start_response('200 OK', text)
            start_response('200 OK', text)
        if form == 'recovered':
            start_response('200 OK', text)
            try:
                raise KeyError('x')
            except KeyError:
                import sys
                start_response('500 Sorry', text, sys.exc_info())
            return [b'sorry']
        if form == 'too-late':
            write = start_response('200 OK', text)
            write(b'begun')
            try:
                raise KeyError('too late')
            except KeyError:
                import sys
                start_response('500 Sorry', text, sys.exc_info())
        if form == 'silent':
            return [b'no start_response']
        if form == 'text':
            start_response('200 OK', text)
            return ['text']
        if form == 'injected':
            start_response('200 OK', text + [('X-A', 'a\0Set-Cookie\0evil')])
            return [b'']
        if form == 'raises':
            raise ValueError('boom')
        if form == 'raises-late':
            def body():
                start_response('200 OK', text)
                yield b'begun'
                raise ValueError('boom')
            return body()
        if form == 'endless':
            closed.clear()
            start_response('200 OK', text)
            return Closing(iter(lambda: b'x' * 1000, None), 0.001)
        if form == 'closing':
            closed.clear()
            start_response('200 OK', text)
            return Closing([b'a', b'b'])
        if form == 'closed':
            start_response('200 OK', text)
            return [str(closed.wait(10)).encode()]
        if form == 'unread':
            start_response('413 Too Large', text)
            return [b'too large']
        start_response('200 OK', text)
        return [os.getpid().to_bytes(4, 'big')]
    return app


together = threading.Barrier(3)


def meeting(global_conf, **local_conf):
    """Answers only when three requests are there at once."""
    def app(environ, start_response):
        together.wait(20)
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'met']
    return app


def gate(global_conf, path):
    """Says by a file that it is at work, and ends when another one is there."""
    def app(environ, start_response):
        open(path + '.in', 'w').close()
        while not os.path.exists(path + '.out'):
            time.sleep(0.005)
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'done']
    return app


def reader(global_conf, path):
    """Looks at a file, each time, and at what is in a directory beside it."""
    def read(path):
        try:
            with open(path) as file:
                return file.read()
        except FileNotFoundError:
            return 'nothing'

    def app(environ, start_response):
        folder = os.path.join(os.path.dirname(path), 'policy.d')
        told = {'text': read(path), 'exists': os.path.exists(path), 'names': sorted(os.listdir(folder)),
                'walked': [names for _, _, names in os.walk(folder)], 'access': os.access(path, os.R_OK),
                'absent': os.path.exists(path + '.absent'),
                'parts': [read(os.path.join(folder, name)) for name in sorted(os.listdir(folder))],
                'stranger': read(os.path.join(folder, 'b.yaml'))}
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [json.dumps(told).encode()]
    return app


def marked(global_conf, mark):
    """A `paste.filter_factory`."""
    def wrap(app):
        def filtered(environ, start_response):
            environ.setdefault('marks', []).append(mark)
            return app(environ, start_response)
        return filtered
    return wrap


def marked_app(app, global_conf, mark):
    """A `paste.filter_app_factory`."""
    return marked(global_conf, mark)(app)


def composite(loader, global_conf, **names):
    """Knows its apps by the names that the Paste file has for them."""
    apps = {path: loader.get_app(name, global_conf=global_conf) for path, name in names.items()}

    def app(environ, start_response):
        return apps[environ['PATH_INFO']](environ, start_response)
    return app


def broken(global_conf, **local_conf):
    raise RuntimeError('no database\nat all')


class Manager:
    """Writes down when it was called."""
    calls = []

    def __init__(self):
        self.calls.append('made')

    def init_host(self):
        self.calls.append('init_host')

    def pre_start_hook(self):
        self.calls.append('pre_start_hook')

    def post_start_hook(self):
        self.calls.append('post_start_hook')


def calls(global_conf, **local_conf):
    Manager.calls.append('loaded')

    def app(environ, start_response):
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [json.dumps(Manager.calls).encode()]
    return app


def tokens(global_conf, **local_conf):
    """What it finds of the token, and whether anybody had looked before."""
    def app(environ, start_response):
        info, auth = environ.get('keystone.token_info'), environ.get('keystone.token_auth')
        told = {'untouched': info is not None and 'told' in vars(info),
                'dumped': json.dumps(info), 'again': json.dumps(dict(info or {})),
                'user': (info or {}).get('token', {}).get('user'),
                'same': info == json.loads(json.dumps(info)), 'exact': type(environ) is dict,
                'auth': auth and [auth.user.auth_token, auth.user.user_id, auth.has_service_token]}
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [json.dumps(told).encode()]
    return app
