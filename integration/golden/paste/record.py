"""Records what Paste's and PasteDeploy's own middleware does, for the tests of the native filters.

    python record.py > all.json          (with Paste and PasteDeploy importable; Python 2.7 and 3)
    python record.py --write DIRECTORY   writes prefix.json, gzip.json, translogger.py27.json (or .py3.json) there

prefix.json and gzip.json are those of PasteDeploy 3.1.0 and Paste 3.10.1 on Python 3.11; PasteDeploy 1.5.2 and Paste
1.7.5.1 on Python 2.7 give the same. In translogger the quoting of paths differs.
"""

from __future__ import print_function

import json
import os
import sys
import gzip
import io
import logging

from paste.deploy.config import make_prefix_middleware
from paste.gzipper import make_gzip_middleware
from paste.translogger import make_filter as make_translogger

ALL = {
    'host': '127.0.0.1:8774',
    'x-forwarded-server': 'server.example, other',
    'x-forwarded-host': 'api.example:8443, other',
    'x-forwarded-for': '192.0.2.1, 192.0.2.2',
    'x-forwarded-scheme': 'https',
    'x-forwarded-proto': 'http',
}


def some(*names):
    return dict((name, ALL[name]) for name in names)


PREFIX = [
    # options, SCRIPT_NAME, PATH_INFO, headers
    ({}, '', '/a', some('host')),
    ({}, '', '', some('host')),
    ({}, '/outer', '/a', some('host')),
    ({'prefix': '/'}, '/outer', '//', some('host')),
    ({'prefix': '/james'}, '', '/james/a', some('host')),
    ({'prefix': '/james'}, '', '/james', some('host')),
    ({'prefix': '/james'}, '', '/james/', some('host')),
    ({'prefix': '/james//'}, '', '/jamesa', some('host')),
    ({'prefix': '/james'}, '', '/a/james', some('host')),
    ({'prefix': '/james'}, '', '/James/a', some('host')),
    ({'prefix': '/james'}, '', '/james/james/a', some('host')),
    ({'prefix': 'james'}, '', '/james/a', some('host')),
    ({'prefix': '/v2.1'}, '', '/v2.1/a', some('host')),
    ({'prefix': '/v2.1'}, '', '/v2x1/a', some('host')),
    ({'prefix': '/v2.1'}, '', '/v2\n1/a', some('host')),
    ({'prefix': '/v2'}, '', '/v2/a\n', some('host')),
    ({'prefix': '/v2'}, '', '/v2/a\nb', some('host')),
    ({'prefix': '/v2'}, '', '/v2\n', some('host')),
    ({}, '', '/', ALL),
    ({'translate_forwarded_server': 'no'}, '', '/', ALL),
    ({'translate_forwarded_server': ' T '}, '', '/', some('host', 'x-forwarded-server')),
    ({}, '', '/', some('x-forwarded-host')),
    ({}, '', '/', some('host', 'x-forwarded-proto')),
    ({}, '', '/', {'host': 'h', 'x-forwarded-proto': 'https, http'}),
    ({}, '', '/', {'host': 'h', 'x-forwarded-for': ''}),
    ({'force_port': '80'}, '', '/', some('host')),
    ({'force_port': ''}, '', '/', some('host')),
    ({'force_port': '', 'scheme': 'https'}, '', '/', some('host')),
    ({'force_port': ''}, '', '/', some('host', 'x-forwarded-scheme')),
    ({'force_port': '80'}, '', '/', {}),
    ({'force_port': '80'}, '', '/', {'host': '[::1]:8774'}),
    ({'scheme': 'https'}, '', '/', some('host', 'x-forwarded-scheme')),
    ({'scheme': 'wss'}, '', '/', ALL),
    ({'force_port': '443', 'prefix': '/james'}, '', '/james/a', ALL),
]


def prefix():
    recorded = []
    for options, script, path, headers in PREFIX:
        environ = {
            'SCRIPT_NAME': script, 'PATH_INFO': path, 'REMOTE_ADDR': '127.0.0.1', 'wsgi.url_scheme': 'http',
            'SERVER_NAME': 'server', 'SERVER_PORT': '8774',
        }
        for name, value in headers.items():
            environ['HTTP_' + name.upper().replace('-', '_')] = value
        seen = {}
        app = make_prefix_middleware(lambda environ, start: seen.update(environ), {}, **options)
        app(environ, None)
        recorded.append({'options': options, 'script': script, 'path': path, 'headers': headers, 'environ': seen})
    return recorded


TEXT = [('content-type', 'text/plain')]
GZIP = [
    # method, Accept-Encoding, headers of the app
    ('GET', None, TEXT),
    ('GET', '', TEXT),
    ('GET', 'deflate', TEXT),
    ('GET', 'gzip', TEXT),
    ('GET', 'GZIP', TEXT),
    ('GET', 'gzip;q=0', TEXT),
    ('GET', 'x-gzip', TEXT),
    ('GET', 'br, gzip', TEXT + [('content-length', '5')]),
    ('POST', 'gzip', TEXT),
    ('GET', 'gzip', []),
    ('GET', 'gzip', [('content-type', 'application/json')]),
    ('GET', 'gzip', [('content-type', 'application/zip')]),
    ('GET', 'gzip', [('content-type', 'application/x-gzip')]),
    ('GET', 'gzip', [('content-type', 'text/plain; name=zip')]),
    ('GET', 'gzip', [('content-type', 'Text/plain')]),
    ('GET', 'gzip', [('content-type', 'image/png')]),
    ('GET', 'gzip', TEXT + [('content-encoding', 'br')]),
    ('GET', 'gzip', TEXT + [('content-encoding', '')]),
    ('GET', 'gzip', TEXT + [('content-range', 'bytes 0-4/10')]),
    ('GET', 'gzip', TEXT + [('cache-control', 'no-transform')]),
]


def compress():
    recorded = []
    for method, accept, headers in GZIP:
        environ = {'REQUEST_METHOD': method}
        if accept is not None:
            environ['HTTP_ACCEPT_ENCODING'] = accept
        seen = {}

        def start(status, headers, exc_info=None):
            seen['headers'] = headers

        def app(environ, start_response):
            start_response('200 OK', list(headers))
            return [b'hello']

        body = b''.join(make_gzip_middleware(app, {})(environ, start))
        names = dict((name.lower(), value) for name, value in seen['headers'])
        is_gzip = body[:2] == b'\x1f\x8b'
        plain = gzip.GzipFile(fileobj=io.BytesIO(body)).read() if is_gzip else body
        recorded.append({
            'method': method, 'accept': accept, 'headers': headers, 'body': plain.decode(), 'is_gzip': is_gzip,
            'content_encoding': [value for name, value in seen['headers'] if name.lower() == 'content-encoding'],
            'vary': 'vary' in names,
        })
    return recorded


LINE = {'host': 'h', 'referer': 'http://r/', 'user-agent': 'curl/8 "x"'}
TRANSLOGGER = [
    # options, SCRIPT_NAME, PATH_INFO, query, headers, REMOTE_USER, status, Content-Length
    ({}, '', '/a', '', {}, None, '200 OK', None),
    ({}, '/v2.1', '/servers', 'limit=1&x=%20', LINE, None, '200 OK', '15'),
    ({}, '/v 2', '/\xe4~"b%+&=', '', {}, 'demo', '404 Not Found', '0'),
    ({}, '', '/a', '', {'x-forwarded-for': '192.0.2.1, 192.0.2.2'}, '', '204 No Content', None),
    ({'format': '%(status)s %(REQUEST_METHOD)5s|%(bytes)-4s|100%%'}, '', '/', '', {}, None, '200 OK', '15'),
    ({'format': ''}, '', '/', '', {}, None, '200 OK', '15'),
]


class Lines(logging.Handler):
    lines = []

    def emit(self, record):
        self.lines.append((record.name, record.getMessage()))


def translogger():
    recorded = []
    for options, script, path, query, headers, user, status, length in TRANSLOGGER:
        environ = {
            'REQUEST_METHOD': 'GET', 'SCRIPT_NAME': script, 'PATH_INFO': path, 'QUERY_STRING': query,
            'REMOTE_ADDR': '127.0.0.1', 'SERVER_PROTOCOL': 'HTTP/1.1',
        }
        if user is not None:
            environ['REMOTE_USER'] = user
        for name, value in headers.items():
            environ['HTTP_' + name.upper().replace('-', '_')] = value

        def app(environ, start_response):
            start_response(status, [] if length is None else [('Content-Length', length)])
            return []

        Lines.lines = []
        logger = logging.getLogger('wsgi')
        logger.handlers = [Lines()]
        make_translogger(app, {}, setup_console_handler='false', **options)(environ, lambda *_: None)
        name, line = Lines.lines[0]
        if '[' in line:
            line = line[:line.index('[') + 1] + 'TIME' + line[line.index(']'):]
        recorded.append({
            'options': options, 'script': script, 'path': path.decode('latin-1') if str is bytes else path, 'query': query,
            'headers': headers, 'user': user, 'status': int(status.split()[0]), 'length': length, 'line': line,
        })
    return recorded


def main(arguments):
    recordings = {'prefix': prefix(), 'gzip': compress(), 'translogger': translogger()}
    if arguments[:1] != ['--write']:
        print(json.dumps(recordings, indent=1, sort_keys=True))
        return
    python = 'py27' if str is bytes else 'py3'
    recordings['translogger.' + python] = recordings.pop('translogger')
    for name, recorded in recordings.items():
        with open(os.path.join(arguments[1], name + '.json'), 'w') as out:
            json.dump(recorded, out, indent=1, sort_keys=True)
            out.write('\n')


if __name__ == '__main__':
    main(sys.argv[1:])
