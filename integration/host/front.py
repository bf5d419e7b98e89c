"""A scripted front: starts the host as Pasteway does, and speaks its protocol (see `src/worker/host/host.py`)."""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
HOST = os.path.join(HERE, '..', '..', 'src', 'worker', 'host', 'host.py')
PACKET = struct.Struct('>HHHHIIIII')
DEADLINE = 30


def context(section, factory, kind='app', protocol='paste.app_factory', file='', line=1, **local):
    """A context of a mount, as the manifest has it."""
    return {'section': section, 'factory': factory, 'kind': kind, 'file': file, 'line': line, 'protocol': protocol,
            'global_conf': {'__file__': file, 'here': os.path.dirname(file)}, 'local_conf': local,
            'loader': file, 'inherited': {}}


def app(factory, **local):
    return {'contexts': [context('app:it', factory, **local)]}


class Gone(Exception):
    """The host closed the connection."""


class Host:
    """A host with its own directory, in which its modules and files lie."""

    def __init__(self, mounts, files=None, python=None, env=None, **host):
        self.dir, self.links = tempfile.mkdtemp(prefix='host'), []
        paste = self.write('api-paste.ini', '[app:it]\n')
        for name, text in (files or {}).items():
            self.write(name, text)
        mounts = json.loads(json.dumps(mounts))
        for told in [told for mount in mounts for told in mount['contexts'] if not told['file']]:
            told['file'] = told['loader'] = paste
            told['global_conf'] = {'__file__': paste, 'here': self.dir}
        told = {'program': 'nova-api', 'worker_app': None, 'threads': 1, 'paste_file': paste, 'paste_name': 'main',
                'config_files': [], 'config_dirs': [], 'frozen': {}, 'file_logging': False, 'manager': None,
                'token_auth': False}
        told.update(host)
        manifest = {'api': 'it', 'release': '34', 'generation': 1, 'mounts': mounts, 'options': {}, 'host': told}
        self.manifest = self.write('manifest.json', json.dumps(manifest))
        self.path = os.path.join(self.dir, 'worker.sock')
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(64)
        self.notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notes.bind(os.path.join(self.dir, 'notify'))
        self.notes.settimeout(DEADLINE)
        environ = dict(os.environ, PASTEWAY_WORKER=self.manifest, PASTEWAY_FRONT_PID=str(os.getpid()),
                       PASTEWAY_SLOT='0', PASTEWAY_LIFE='1', NOTIFY_SOCKET=os.path.join(self.dir, 'notify'),
                       WATCHDOG_USEC='400000', PYTHONDONTWRITEBYTECODE='1',
                       PYTHONPATH=os.pathsep.join([self.dir, HERE, os.environ.get('PYTHONPATH', '')]).strip(os.pathsep))
        environ.update(env or {})
        run = os.path.join(self.dir, 'run')
        os.mkdir(run)
        copy = shutil.copy(HOST, os.path.join(run, 'host.py'))
        self.process = subprocess.Popen(
            [python or sys.executable, '-u', copy], stdin=listener, env=environ,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        listener.close()
        self.said = {1: b'', 2: b''}
        self.readers = [threading.Thread(target=self.read, args=(1, self.process.stdout)),
                        threading.Thread(target=self.read, args=(2, self.process.stderr))]
        for reader in self.readers:
            reader.daemon = True
            reader.start()

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as file:
            file.write(textwrap.dedent(text))
        return path

    def read(self, which, pipe):
        for line in pipe:
            self.said[which] += line

    def note(self, wanted):
        """The first note that begins so; one that never comes is an error, and so is an end of the host."""
        self.notes.settimeout(0.1)
        for _ in range(DEADLINE * 10):
            try:
                text = self.notes.recv(4096).decode()
            except socket.timeout:
                if self.process.poll() is not None:
                    raise AssertionError('the host ended: %s' % self.stderr())
                continue
            if text.startswith(wanted):
                return text
        raise AssertionError('never said %s' % wanted)

    def ready(self):
        self.note('READY=1')
        return self

    def link(self):
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(DEADLINE)
        self.links.append(link)
        link.connect(self.path)
        return Link(link)

    def refuses(self):
        """Waits until it takes no more connections."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            try:
                self.link().close()
            except OSError:
                return
        raise AssertionError('it still takes connections')

    def ended(self):
        """Its exit code."""
        code = self.process.wait(DEADLINE)
        for reader in self.readers:
            reader.join(DEADLINE)
        return code

    def logs(self, wanted):
        """Waits until it has written so to its standard error."""
        deadline = time.monotonic() + DEADLINE
        while wanted not in self.stderr():
            if time.monotonic() > deadline:
                raise AssertionError('%r is not in %r' % (wanted, self.stderr()))
            time.sleep(0.005)

    def stderr(self):
        return self.said[2].decode()

    def cpu(self):
        """Seconds of processor time so far."""
        with open('/proc/%d/stat' % self.process.pid) as file:
            fields = file.read().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.ended()
        for link in self.links:
            link.close()
        self.notes.close()
        self.process.stdout.close()
        self.process.stderr.close()
        shutil.rmtree(self.dir)


def packet(environ, mount=0, script='', path='/', body=False, alone=False, info=b'', service=b''):
    """A request as the front writes it; `environ` may hold None, ASCII texts, and what JSON can say."""
    nones = [key for key, value in environ.items() if value is None]
    texts = {key: value for key, value in environ.items() if isinstance(value, str) and value.isascii()}
    extra = {key: value for key, value in environ.items() if value is not None and key not in texts}
    text = ''.join('%s\0' % key for key in nones)
    text += ''.join('%s\0%s\0' % pair for pair in texts.items()) + script + path
    text = text.encode('latin-1')
    extra = json.dumps(extra).encode() if extra else b''
    head = PACKET.pack(mount, body + 2 * alone, len(nones), len(texts), len(script), len(text), len(extra), len(info),
                       len(service))
    return head + text + extra + info + service


def frame(data):
    return struct.pack('>I', len(data)) + data


class Response:
    def __init__(self, status, headers, body, pieces):
        self.status, self.headers, self.body, self.pieces = status, headers, body, pieces


class Failed(Exception):
    """The host said X."""


class Link:
    """A connection to the host."""

    def __init__(self, link):
        self.socket = link

    def send(self, data):
        self.socket.sendall(data)

    def read(self, size):
        data = b''
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionResetError:
                more = b''
            if not more:
                raise Gone(data)
            data += more
        return data

    def frame(self):
        kind, size = struct.unpack('>cI', self.read(5))
        return kind, self.read(size)

    def response(self):
        kind, head = self.frame()
        if kind == b'X':
            raise Failed(head.decode())
        assert kind == b'H', kind
        parts = head.decode('latin-1').split('\0')
        pieces = []
        while True:
            kind, data = self.frame()
            if kind == b'E':
                assert not data
                return Response(parts[0], list(zip(parts[1::2], parts[2::2])), b''.join(pieces), pieces)
            if kind == b'X':
                raise Failed(data.decode())
            assert kind == b'D', kind
            pieces.append(data)

    def ask(self, method='GET', path='/', body=None, script='', mount=0, alone=False, info=b'', service=b'', **environ):
        """One request and its response. A body may come in pieces."""
        told = {'REQUEST_METHOD': method, 'QUERY_STRING': '', 'SERVER_NAME': 'h', 'SERVER_PORT': '8774',
                'SERVER_PROTOCOL': 'HTTP/1.1', 'REMOTE_ADDR': '127.0.0.1', 'wsgi.url_scheme': 'http', 'HTTP_HOST': 'h'}
        told.update((key.replace('__', '.'), value) for key, value in environ.items())
        data = packet(told, mount, script, path, body is not None, alone, info, service)
        if body is not None:
            pieces = [body] if isinstance(body, bytes) else body
            data += b''.join(frame(piece) for piece in pieces if piece) + frame(b'')
        self.send(data)
        return self.response()

    def close(self):
        self.socket.close()
