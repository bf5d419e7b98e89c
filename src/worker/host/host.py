"""Pasteway's Python host: serves the WSGI apps of one API to the front that started this process.

It is no web server. The front has read and checked the HTTP message; what comes here is a packet that becomes the WSGI
environ almost as it is. Nothing is needed but Python (3.8 or later) and the operator's own PasteDeploy.

    environment and manifest -> frozen files -> mounts, built by PasteDeploy -> READY=1 -> serve -> SIGTERM -> leave

The front's side of all this is in Rust: `worker/host/mod.rs` (how this file is run), `worker/manifest.rs` (what the
manifest holds) and `proxy/upstream/framed.rs` (the same protocol, from the other end).


The protocol
------------

On every connection the front sends a request, then reads its response, then may send the next one. Numbers are
unsigned and big-endian; text is latin-1, as WSGI has it ("bytes as text").

A request is a packet, and the frames of its body if it has one:

    mount    u16   index into the manifest's mounts
    flags    u16   1: frames of a body follow; 2: this is the only worker (`wsgi.multiprocess` is false)
    nones    u16   how many keys have the value None
    pairs    u16   how many keys have a text for a value
    script   u32   length of SCRIPT_NAME in `text`
    text     u32   |
    extra    u32   | lengths of the four
    info     u32   | parts behind this
    service  u32   |
    text           the keys without a value, then key and value in turn, each ended by NUL; then SCRIPT_NAME and
                   PATH_INFO with nothing between them, which alone may hold NULs
    extra          a JSON object of further values of the environ, or nothing
    info           JSON of a validated token (`keystone.token_info`), or nothing
    service        the same of a service token

    frame of a request's body: length u32, bytes. A frame of length 0 ends the body.

A response is frames of kind u8, length u32, bytes:

    H   status and header lines: `200 OK`, then name and value in turn, joined by NULs; first, and once
    D   a piece of the body
    E   the end, empty; the connection is ready for the next request
    X   the app failed (text for the log); instead of what has not been sent. The connection is closed behind it

Whoever has lost interest closes the connection: the front when a client is gone, which ends the response's iterator
at its next piece.
"""

import builtins
import errno
import faulthandler
import gc
import io
import json
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
from _thread import allocate_lock, start_new_thread
from itertools import chain

# A service may have eventlet replace what these names stand for, in their modules, when it is imported: the host goes
# on with the originals.
Socket, sleep, monotonic, os_read, os_write = socket.socket, time.sleep, time.monotonic, os.read, os.write
EPOLLIN, EPOLLONESHOT = select.EPOLLIN, select.EPOLLONESHOT

PACKET = struct.Struct('>HHHHIIIII')
BODY_FOLLOWS, ALONE = 1, 2
LENGTH = struct.Struct('>I')
FRAME = struct.Struct('>cI')
END = FRAME.pack(b'E', 0)
NO_MORE = LENGTH.pack(0)

# Bytes read at once: a request with a token and its catalog fits.
READ = 32 * 1024
# A piece of a response up to this size is copied to go out with its head in one write.
SMALL = 64 * 1024
# Seconds that an idle connection is still listened to after SIGTERM, until the front has closed it.
LINGER = 0.25
# EX_CONFIG of sysexits.h: starting again will not help.
UNUSABLE = 78


# Starting: what may be wrong, and how it is told
# -----------------------------------------------

class Unusable(Exception):
    """What stands in the way of serving; `where` says which part of the configuration, the cause is what Python said."""

    def __init__(self, where, cause=None):
        super().__init__(where)
        self.where, self.cause = where, cause

    def report(self):
        """One report for people: what, where, and the last of what Python has to say."""
        lines = ['pasteway: ' + self.where]
        if self.cause is not None:
            frames = traceback.extract_tb(self.cause.__traceback__)
            theirs = [frame for frame in frames if not is_machinery(frame.filename)]
            for frame in theirs[-3:]:
                lines.append('  %s:%s: in %s: %s' % (frame.filename, frame.lineno, frame.name, frame.line))
            said = traceback.format_exception_only(type(self.cause), self.cause)
            lines.extend('  ' + line for line in ''.join(said).rstrip().splitlines()[-6:])
        return '\n'.join(lines) + '\n'


def is_machinery(filename):
    """Whether a traceback's line is of no help to somebody who looks for the mistake in a service."""
    library = filename.startswith(os.path.dirname(os.__file__) + '/') and '/site-packages/' not in filename
    return library or filename == __file__ or filename.startswith('<frozen ') or '/paste/deploy/' in filename


def note(text, flags=0):
    """Says something to the front, as a service says it to systemd (sd_notify(3))."""
    try:
        NOTIFY.sendto(text.encode('utf-8'), flags, NOTIFY_ADDRESS)
    except OSError:
        # A front that is gone needs no notes.
        pass


def beat():
    """Lives, and works. A front that is too slow to take the note will hear the next."""
    note('WATCHDOG=1', socket.MSG_DONTWAIT)


def imported(spec):
    """The object that `module:attribute.attribute` names."""
    module, _, path = spec.partition(':')
    __import__(module)
    found = sys.modules[module]
    for name in filter(None, path.split('.')):
        found = getattr(found, name)
    return found


# Files: a generation owns its own
# --------------------------------

class Frozen:
    """Has the operator's files read from the copies that this generation was accepted with.

    A worker that is started again an hour after an edit reads what its generation was made from; and a service that
    looks again by itself (oslo.policy) finds nothing changed. Names stay the operator's. A directory's copy holds what
    is read there; what else lies in it is no part of the configuration, and is found where it is.
    """

    def __init__(self, copies):
        self.copies = copies

    def copy_of(self, path):
        """The path to use instead of `path`, which may be anything that `open` takes."""
        if isinstance(path, int):
            return path
        try:
            name = os.fsdecode(path)
        except TypeError:
            # Whoever is asked for it will say what is wrong with it.
            return path
        if not name.startswith('/') or '/.' in name or '//' in name or name.endswith('/'):
            name = os.path.abspath(name)
        if name not in self.copies:
            return path
        copy = self.copies[name]
        if copy is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return os.fsencode(copy) if isinstance(path, bytes) else copy

    def holds(self, name):
        """Whether what is looked for by this name, in whatever directories, is one of the generation's files."""
        return any(path.endswith('/' + name.lstrip('/')) for path in self.copies)

    def install(self):
        """Replaces what looks at files by their names."""
        if not self.copies:
            return
        builtins.open = io.open = Redirected(self, io.open, reads=lambda mode='r', *_, **__: not set(mode) & set('wax+'))
        writing = os.O_WRONLY | os.O_RDWR
        for name in ('open', 'stat', 'lstat', 'listdir', 'scandir', 'access'):
            plain = getattr(os, name)
            reads = (lambda flags, *_, **__: not flags & writing) if name == 'open' else None
            redirected = Redirected(self, plain, reads)
            setattr(os, name, redirected)
            # The library asks these what it may do (shutil, glob).
            for able in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks, os.supports_effective_ids):
                if plain in able:
                    able.add(redirected)


class Redirected:
    """A function of a path, with the path replaced. Not a plain function: as a class attribute it must stay unbound."""

    def __init__(self, frozen, plain, reads=None):
        self.frozen, self.plain, self.reads = frozen, plain, reads
        self.__name__, self.__doc__ = plain.__name__, plain.__doc__

    def __call__(self, *args, **kwargs):
        if not args or kwargs.get('dir_fd') is not None or (self.reads and not self.reads(*args[1:], **kwargs)):
            return self.plain(*args, **kwargs)
        try:
            path = self.frozen.copy_of(args[0])
        except FileNotFoundError:
            if self.__name__ == 'access':
                return False
            raise
        return self.plain(path, *args[1:], **kwargs)


def settle_policies(frozen):
    """Has oslo.policy load its rules once.

    At every check it looks for its files and goes through all rules (0.1 ms and more; an answer may take dozens of
    checks). Where all that it looks for is frozen, it can find nothing new.
    """
    library = sys.modules.get('oslo_policy.policy')
    if library is None:
        return
    load = library.Enforcer.load_rules

    def load_rules(self, force_reload=False):
        # What the service itself does to its rules (`clear`, `set_rules`, one registered late) shows in these.
        rules, size = self.__dict__.get('pasteway_settled', (None, 0))
        if (rules is self.rules and size == len(self.registered_rules) and not force_reload
                and not getattr(self, '_need_check_rule', False)):
            return
        load(self, force_reload)
        looked_for = [self.policy_file] + list(self.conf.oslo_policy.policy_dirs)
        # The front has frozen the places where Nova looks. Another service has directories of its own.
        if self.conf.project == 'nova' and all(frozen.holds(name) for name in looked_for):
            self.pasteway_settled = self.rules, len(self.registered_rules)

    library.Enforcer.load_rules = load_rules


# Services whose `_SchemaValidator` has been read: Nova from 20 to 34, Cinder 27, Manila 23.
SCHEMAS = ('nova.api.validation.validators', 'cinder.api.validation.validators', 'manila.api.validation.validators')


def settle_schemas():
    """Has the classes made once that check bodies, queries and answers against schemas.

    These services have jsonschema make a class for every check (a list of flavors takes two), and it does so by writing
    source code and compiling it: 30 % of the request. All that differs between the classes is the object to which their
    checks of `minimum` and `maximum` are bound, and these use nothing of it but its class. Nobody changes a class when
    it is made, so that threads can share it; its instances are made for each check, as ever.
    """
    library = sys.modules.get('jsonschema.validators')
    theirs = {getattr(sys.modules.get(name), '_SchemaValidator', None) for name in SCHEMAS} - {None}
    if library is None or not theirs:
        return
    extend, made = library.extend, {}

    def extend_once(validator, validators=(), *args, **kwargs):
        checks = dict(validators)
        owners = {type(check.__self__) for check in checks.values() if hasattr(check, '__self__')}
        # Others may check by what they were made with.
        if not owners or not owners <= theirs or args or kwargs:
            return extend(validator, checks, *args, **kwargs)
        key = validator, tuple((name, getattr(check, '__func__', check)) for name, check in checks.items())
        if key not in made:
            made[key] = extend(validator, checks)
        return made[key]

    library.extend = extend_once


# Mounts: what PasteDeploy makes of the sections below the cut
# ------------------------------------------------------------

class Mounts:
    """Builds the manifest's mounts with the operator's PasteDeploy.

    The front has resolved the sections; which object a name stands for, and how a factory of a protocol is called, is
    PasteDeploy's own business here.
    """

    def __init__(self, manifest):
        try:
            from paste.deploy import loadwsgi
        except ImportError as error:
            raise Unusable('Python cannot import PasteDeploy (%s)' % sys.executable, error) from error
        self.loadwsgi, self.manifest, self.loaders = loadwsgi, manifest, {}

    def build(self):
        """The apps, by the index of their mounts."""
        return [self.app(mount['contexts']) for mount in self.manifest['mounts']]

    def are_one_app(self):
        """Whether nothing stands behind the cut but an app."""
        return [len(mount['contexts']) for mount in self.manifest['mounts']] == [1]

    def app(self, contexts):
        # In the order of PasteDeploy's pipelines: the app, then the filters from the left, then wrapped from the right.
        app = self.create(contexts[-1])
        filters = [self.create(context) for context in contexts[:-1]]
        for context, wrap in reversed(list(zip(contexts, filters))):
            app = self.told(context, wrap, app)
        return app

    def create(self, context):
        return self.told(context, lambda: self.context(context).create())

    def told(self, context, action, *args):
        """Has an error say which section it belongs to."""
        try:
            return action(*args)
        except Unusable:
            raise
        except (Exception, SystemExit) as error:
            place = '%(file)s:%(line)s: ' % context if context['file'] else ''
            what = '[%s]' % context['section']
            if context['section'] != context['factory']:
                what += ' (%s)' % context['factory']
            raise Unusable('%s%s cannot be built' % (place, what), error) from error

    def context(self, told):
        """PasteDeploy's context for a section."""
        library = self.loadwsgi
        kind = library.APP if told['kind'] == 'app' else library.FILTER
        factory, protocol = told['factory'], told.get('protocol')
        global_conf = dict(told['global_conf'])
        if factory.startswith(('egg:', 'call:')):
            context = library.loadcontext(kind, factory, global_conf=global_conf)
        else:
            loader = self.loader(told)
            context = loader._context_from_explicit(kind, {protocol: factory}, global_conf, {}, told['section'])
        context.global_conf, context.local_conf = global_conf, dict(told['local_conf'])
        context.protocol = protocol or context.protocol
        if told['section'] != factory:
            context.loader = self.loader(told)
        return context

    def loader(self, told):
        """Where a composite's factory looks up further names."""
        path, inherited = told.get('loader') or told['file'], told.get('inherited') or {}
        key = path, tuple(inherited.items())
        if key not in self.loaders:
            self.loaders[key] = self.loadwsgi.ConfigLoader(path)
            self.loaders[key].update_defaults(inherited, overwrite=False)
        return self.loaders[key]


class Service:
    """A service's own start around its mounts: its configuration, its WSGI entry, the hooks of its manager."""

    def __init__(self, manifest):
        self.host = manifest['host']
        self.mounts = Mounts(manifest)
        self.apps, self.manager, self.asked = None, None, []

        def dispatch(environ, start_response):
            """Stands for the whole pipeline: goes on at the mount that the front has found."""
            return self.apps[environ['pasteway.mount']](environ, start_response)

        self.dispatch = dispatch

    def start(self):
        """The callables that take requests, by mount."""
        host = self.host
        sys.argv = [host['program']]
        if host['file_logging']:
            self.set_up_logging()
        if not host['worker_app']:
            self.build()
            return self.apps
        self.hand_over_config_files()
        entry = self.entry(host['worker_app'])
        # Most entries are what Paste gave them. One that is more wants to be called itself.
        return self.apps if entry is self.dispatch else [entry] * len(self.apps)

    def entry(self, spec):
        """Imports the service's entry; where it asks Paste for the pipeline, it gets what is left of it."""
        from paste import deploy
        from paste.deploy import loadwsgi

        original = loadwsgi.loadapp
        deploy.loadapp = loadwsgi.loadapp = self.answer_to_loadapp(original)
        problem = 'worker_app %s cannot be started' % spec
        try:
            try:
                made = imported(spec[:-2])() if spec.endswith('()') else imported(spec)
            finally:
                deploy.loadapp = loadwsgi.loadapp = original
        except Unusable:
            raise
        except (Exception, SystemExit) as error:
            # Some services wrap what comes out of Paste in an error of their own.
            inner = error
            while inner is not None and not isinstance(inner, Unusable):
                inner = inner.__cause__ or inner.__context__
            raise inner or Unusable(problem, error) from error
        if not callable(made):
            raise Unusable('%s: it is no WSGI callable, but %r' % (problem, made))
        if self.apps is None:
            if self.asked or not self.mounts.are_one_app():
                asked = 'it never asked Paste for `%s`' % self.host['paste_name']
                raise Unusable('%s: %s, so that nothing would be served' % (problem, asked))
            # It reads the file in its own way, and is what the section stands for.
            self.apps = [made]
        return made

    def answer_to_loadapp(self, original):
        def loadapp(uri, name=None, **kwargs):
            wanted = name or uri.partition('#')[2] or 'main'
            self.asked.append(wanted)
            if wanted != self.host['paste_name']:
                return original(uri, name=name, **kwargs)
            if self.apps is None:
                self.build()
            return self.dispatch
        return loadapp

    def build(self):
        # As Nova's launcher does: the manager is there before the app is loaded, when the configuration has been read.
        if self.host['manager']:
            module, _, name = self.host['manager'].rpartition('.')
            try:
                self.manager = imported(module + ':' + name)()
                self.hook('init_host')
                self.hook('pre_start_hook')
            except Exception as error:
                raise Unusable('the manager %s cannot be started' % self.host['manager'], error) from error
        self.apps = self.mounts.build()

    def hook(self, name):
        if self.manager is not None:
            getattr(self.manager, name, lambda: None)()

    def set_up_logging(self):
        """As `pserve` does: the Paste file may hold a configuration of `logging`."""
        import configparser
        import logging.config

        path = self.host['paste_file']
        here = {'__file__': path, 'here': os.path.dirname(path)}
        try:
            with open(path) as file:
                known = configparser.RawConfigParser(strict=False)
                known.read_file(file)
            if known.has_section('loggers'):
                logging.config.fileConfig(path, here, disable_existing_loggers=False)
        except Exception as error:
            raise Unusable('%s: its logging sections cannot be used' % path, error) from error

    def hand_over_config_files(self):
        """Gives oslo.config the files that the front has read, once, however the service asks for them."""
        files, dirs = self.host['config_files'], self.host['config_dirs']
        if self.host['worker_app'].startswith('nova.'):
            # Nova's WSGI modules take the first for the Paste file and read all of them as configuration.
            os.environ['OS_NOVA_CONFIG_DIR'] = os.path.dirname(self.host['paste_file'])
            os.environ['OS_NOVA_CONFIG_FILES'] = ';'.join([self.host['paste_file']] + files)
        if not files and not dirs:
            return
        try:
            from oslo_config import cfg
        except ImportError:
            return
        original = cfg.ConfigOpts.__call__

        def call(conf, args=None, project=None, **kwargs):
            if project is not None:
                cfg.ConfigOpts.__call__ = original
                kwargs['default_config_files'] = kwargs.get('default_config_files') or files
                # Not None, which would mean those that lie around now.
                kwargs['default_config_dirs'] = kwargs.get('default_config_dirs') or dirs
            return original(conf, args, project=project, **kwargs)

        cfg.ConfigOpts.__call__ = call


def facts():
    """What only the service's code knows and the front's own version documents say."""
    module = sys.modules.get('nova.api.openstack.api_version_request')
    known = [getattr(module, name, None) for name in ('_MIN_API_VERSION', '_MAX_API_VERSION')]
    return {'nova.microversions': known} if all(isinstance(version, str) for version in known) else {}


# Tokens: what the front's auth filter found out, in the shapes that services know
# ---------------------------------------------------------------------------------

class TokenInfo(dict):
    """`keystone.token_info`: the JSON of a token, parsed when somebody looks at it. Hardly anybody does."""

    def __init__(self, told):
        # Never empty: Python's JSON encoder looks at the size without asking.
        super().__init__(token=None)
        self.told = told

    def load(self):
        told = self.__dict__.pop('told', None)
        if told is not None:
            dict.clear(self)
            dict.update(self, json.loads(told))

    def __reduce__(self):
        return dict, (dict(self.items()),)

    __hash__ = None


def lazy(name):
    plain = getattr(dict, name)

    def method(self, *args, **kwargs):
        self.load()
        return plain(self, *args, **kwargs)

    method.__name__ = name
    return method


for _name in ('__contains__ __delitem__ __eq__ __ge__ __getitem__ __gt__ __ior__ __iter__ __le__ __len__ __lt__ __ne__ '
              '__or__ __repr__ __reversed__ __ror__ __setitem__ __sizeof__ clear copy get items keys pop popitem '
              'setdefault update values').split():
    if hasattr(dict, _name):
        setattr(TokenInfo, _name, lazy(_name))


def token_auth_class():
    """A `UserAuthPlugin` as keystonemiddleware puts into `keystone.token_auth`, made of a token's JSON on first use."""
    try:
        from keystoneauth1 import access
        from keystonemiddleware.auth_token._user_plugin import UserAuthPlugin
    except ImportError:
        return None

    def person(which):
        def get(self):
            if which in self.told:
                info, token = self.told.pop(which)
                self.made[which] = access.create(body=json.loads(info), auth_token=token) if info else None
            return self.made.get(which)
        # The base class says None of both when it is made; what was told says more.
        return property(get, lambda self, value: None)

    class TokenAuth(UserAuthPlugin):
        user, service = person('user'), person('service')

        def __init__(self, info, token, service_info, service_token):
            self.told = {'user': (info, token), 'service': (service_info, service_token)}
            self.made = {}
            super().__init__(None, None)

    return TokenAuth


class Tokens:
    """Puts the tokens of a request into its environ."""

    def __init__(self):
        self.auth_class = token_auth_class

    def prepare(self):
        if self.auth_class is token_auth_class:
            self.auth_class = token_auth_class()

    def add(self, environ, info, service):
        if info:
            environ['keystone.token_info'] = TokenInfo(info)
        self.prepare()
        if self.auth_class is not None:
            token = environ.get('HTTP_X_AUTH_TOKEN') or environ.get('HTTP_X_STORAGE_TOKEN')
            service_token = environ.get('HTTP_X_SERVICE_TOKEN')
            environ['keystone.token_auth'] = self.auth_class(info, token, service, service_token)


# Serving: a connection, a request on it, its response
# ----------------------------------------------------

class Link:
    """A connection of the front's."""

    __slots__ = ('socket', 'held', 'gone')

    def __init__(self, socket):
        # `held`: read, and not yet understood.
        self.socket, self.held, self.gone = socket, b'', False

    def more(self):
        """Reads on.

        Errors: ConnectionResetError when the front has closed: its client is gone."""
        try:
            data = self.socket.recv(READ)
        except OSError:
            data = b''
        if not data:
            self.gone = True
            raise ConnectionResetError(errno.ECONNRESET, 'the client went away')
        self.held = self.held + data if self.held else data

    def take(self, size):
        """The next `size` bytes."""
        while len(self.held) < size:
            self.more()
        held = self.held
        self.held = held[size:]
        return held[:size]

    def take_into(self, buffer):
        """Fills a part of `buffer`, which is not empty; how much."""
        if not self.held:
            self.more()
        size = min(len(buffer), len(self.held))
        buffer[:size] = self.held[:size]
        self.held = self.held[size:]
        return size

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.gone = True
            raise


class RequestBody(io.RawIOBase):
    """A body in frames, as it comes."""

    def __init__(self, link):
        self.link, self.left, self.over = link, 0, False

    def readable(self):
        return True

    def readinto(self, buffer):
        if self.over or not len(buffer):
            return 0
        if not self.left:
            self.left, = LENGTH.unpack(self.link.take(LENGTH.size))
            if not self.left:
                self.over = True
                return 0
        size = self.link.take_into(memoryview(buffer)[:self.left])
        self.left -= size
        return size

    def skip(self):
        """Reads what the app did not want, so that the next request begins where it should."""
        rest = bytearray(READ)
        while self.readinto(rest):
            pass


class FileWrapper:
    """`wsgi.file_wrapper`: a file as an iterator (PEP 3333)."""

    def __init__(self, file, size=SMALL):
        self.file, self.size = file, size
        if hasattr(file, 'close'):
            self.close = file.close

    def __iter__(self):
        return self

    def __next__(self):
        data = self.file.read(self.size)
        if data:
            return data
        raise StopIteration


class Answer:
    """The response to one request: what the app hands over becomes frames."""

    __slots__ = ('link', 'head', 'sent', 'mute', 'to_head')

    def __init__(self, link, to_head):
        self.link, self.to_head = link, to_head
        self.head, self.sent, self.mute = None, False, to_head

    def start(self, status, headers, exc_info=None):
        """`start_response`."""
        if exc_info:
            try:
                if self.sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.head is not None:
            raise AssertionError('start_response is called again without exc_info')
        text = '\0'.join(chain((status,), chain.from_iterable(headers)))
        if text.count('\0') != 2 * len(headers):
            raise ValueError('a header line holds a NUL, or is no pair of a name and a value')
        self.head = text.encode('latin-1')
        self.mute = self.to_head or status[:3] in ('204', '304')
        return self.write

    def write(self, data):
        """A piece of the body, at once."""
        if type(data) is not bytes and not isinstance(data, bytes):
            raise TypeError('a response consists of bytes, not of %s' % type(data).__name__)
        self.put(data, b'')

    def put(self, data, end):
        """Sends the head if that is still to be done, a piece of the body, and the end."""
        if self.head is None:
            raise AssertionError('start_response has not been called before the body')
        before = b'' if self.sent else FRAME.pack(b'H', len(self.head)) + self.head
        self.sent = True
        if not data or self.mute:
            self.link.send(before + end)
        elif len(data) <= SMALL:
            self.link.send(b''.join((before, FRAME.pack(b'D', len(data)), data, end)))
        else:
            self.link.send(before + FRAME.pack(b'D', len(data)))
            self.link.send(data)
            if end:
                self.link.send(end)

    def finish(self, result):
        """Sends what the app returned."""
        try:
            if type(result) is list or type(result) is tuple:
                self.put(result[0] if len(result) == 1 and type(result[0]) is bytes else b''.join(result), END)
                return
            for data in result:
                if data:
                    self.write(data)
            self.put(b'', END)
        finally:
            close = getattr(result, 'close', None)
            if close is not None:
                close()


class Server:
    """Serves the front's connections in a number of threads.

    Every thread waits for any connection that has something to say, serves one request on it, and waits again: an idle
    connection binds no thread, and a request is handed from no thread to another. The pulse, a thread of its own, goes
    the same way once a heartbeat, so that the front hears a heartbeat only if requests would be heard too.
    """

    def __init__(self, listener, threads, front):
        self.listener, self.threads, self.front = listener, threads, front
        self.apps, self.tokens = [], Tokens()
        self.links = {}
        self.busy = [False] * threads
        self.served = 0
        self.listening, self.stopping = True, False
        self.epoll = select.epoll()
        # With one thread there is nobody else to be kept from a connection that is being served.
        self.once = EPOLLONESHOT if threads > 1 else 0
        self.pulse_out, self.pulse_in = os.pipe()
        self.leave_out, self.leave_in = os.pipe()
        self.pulse_gate = allocate_lock()
        self.pulse_gate.acquire()
        self.base = {}

    def serve(self, apps, on_ready):
        """Serves until SIGTERM, or until the front is gone; to be called on the main thread."""
        self.apps = apps
        self.base = {
            'wsgi.version': (1, 0),
            'wsgi.errors': sys.stderr,
            'wsgi.multithread': self.threads > 1,
            'wsgi.run_once': False,
            'wsgi.file_wrapper': FileWrapper,
            'wsgi.input_terminated': True,
        }
        self.listener.setblocking(False)
        self.epoll.register(self.listener.fileno(), EPOLLIN | self.once)
        self.epoll.register(self.pulse_out, EPOLLIN | self.once)
        self.epoll.register(self.leave_out, EPOLLIN)
        # A terminal sends these to the whole group, and the front decides.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self.on_term)
        start_new_thread(self.pulse, ())
        for number in range(1, self.threads):
            start_new_thread(self.run, (number,))
        on_ready()
        self.run(0)

    def on_term(self, *_):
        self.stopping = True
        if self.pulse_gate.locked():
            self.pulse_gate.release()

    def run(self, number):
        """What every thread does, until it is told to leave."""
        poll, links, once = self.epoll.poll, self.links, self.once
        while True:
            for fd, _ in poll(-1, 1):
                link = links.get(fd)
                if link is not None:
                    self.busy[number] = True
                    open_still = self.call(link)
                    while open_still and link.held:
                        # The next request came behind a body that the app had not read.
                        open_still = self.call(link)
                    self.served += 1
                    self.busy[number] = False
                    if open_still:
                        if once:
                            self.epoll.modify(fd, EPOLLIN | once)
                    else:
                        # Out of the table before the number may be another connection's.
                        del links[fd]
                        link.socket.close()
                elif fd == self.leave_out:
                    return
                elif fd == self.pulse_out:
                    os_read(fd, 64)
                    beat()
                    if once:
                        self.epoll.modify(fd, EPOLLIN | once)
                else:
                    self.accept()
                    try:
                        if once and self.listening:
                            self.epoll.modify(fd, EPOLLIN | once)
                    except (OSError, ValueError):
                        # Closed in this moment.
                        pass

    def accept(self):
        """Takes all connections that wait."""
        while True:
            try:
                # Not `accept()`, which would make a socket of eventlet's once that is there.
                fd, _ = self.listener._accept()
            except BlockingIOError:
                return
            except OSError:
                # Out of descriptors: those that close give room.
                sleep(0.01)
                return
            link = Link(Socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd))
            link.socket.setblocking(True)
            self.links[fd] = link
            self.epoll.register(fd, EPOLLIN | self.once)

    def pulse(self):
        """Heartbeats, the end of the front, and the way out."""
        interval = int(os.environ.get('WATCHDOG_USEC', '0')) / 2e6 or 1.0
        while not self.stopping:
            if not self.pulse_gate.acquire(timeout=interval):
                self.beat()
            if os.getppid() != self.front:
                self.stopping = True
        note('STOPPING=1')
        self.listening = False
        # Those that wait have been promised an answer.
        self.accept()
        self.epoll.unregister(self.listener.fileno())
        self.listener.close()
        quiet, seen, beaten = monotonic(), self.served, monotonic()
        while any(self.busy) or (self.links and monotonic() - quiet < LINGER):
            sleep(0.01)
            if any(self.busy) or self.served != seen:
                quiet, seen = monotonic(), self.served
            if monotonic() - beaten > interval:
                beaten = monotonic()
                self.beat()
        os_write(self.leave_in, b'.')

    def beat(self):
        if all(self.busy):
            # Nobody waits for connections now, as it should be; that this thread runs says that the others can.
            beat()
        else:
            os_write(self.pulse_in, b'.')

    def call(self, link):
        """Serves one request; whether the connection can take another one."""
        body = None
        try:
            if not link.held:
                try:
                    link.more()
                except ConnectionResetError:
                    return False
            environ, body, mount = self.request(link)
        except ConnectionResetError:
            return False
        answer = Answer(link, environ['REQUEST_METHOD'] == 'HEAD')
        try:
            answer.finish(self.apps[mount](environ, answer.start))
            if body is not None and not body.over:
                body.skip()
            return True
        except BaseException as error:
            if not link.gone:
                self.failed(link, environ, error)
            return False

    def request(self, link):
        """The environ of the next request, its body if that is still to come, and its mount."""
        held = link.held
        while len(held) < PACKET.size:
            link.more()
            held = link.held
        mount, flags, nones, pairs, script, text, extra, info, service = PACKET.unpack_from(held)
        start = PACKET.size
        end = start + text + extra + info + service
        while len(held) < end:
            link.more()
            held = link.held
        parts = held[start:start + text].decode('latin-1').split('\0', nones + 2 * pairs)
        path = parts.pop()
        environ = self.base.copy()
        environ.update(zip(parts[nones::2], parts[nones + 1::2]))
        environ['SCRIPT_NAME'] = path[:script]
        environ['PATH_INFO'] = path[script:]
        environ['pasteway.mount'] = mount
        environ['wsgi.multiprocess'] = not flags & ALONE
        if nones:
            environ.update(dict.fromkeys(parts[:nones]))
        if extra:
            environ.update(json.loads(held[start + text:start + text + extra]))
        if info or service:
            split = end - service
            self.tokens.add(environ, held[split - info:split], held[split:end])
        link.held = held = held[end:]
        if not flags & BODY_FOLLOWS:
            environ['wsgi.input'] = io.BytesIO()
            return environ, None, mount
        # Most bodies are there with the head.
        if len(held) > LENGTH.size:
            size, = LENGTH.unpack_from(held)
            if len(held) == size + 2 * LENGTH.size and held.endswith(NO_MORE):
                link.held = b''
                environ['wsgi.input'] = io.BytesIO(held[LENGTH.size:-LENGTH.size])
                return environ, None, mount
        body = RequestBody(link)
        environ['wsgi.input'] = io.BufferedReader(body, SMALL)
        return environ, body, mount

    def failed(self, link, environ, error):
        """An exception that the app let go."""
        what = ''.join(traceback.format_exception_only(type(error), error)).strip()
        frames = ''.join(traceback.format_tb(error.__traceback__)[1:])
        line = '%s %s%s' % (environ['REQUEST_METHOD'], environ['SCRIPT_NAME'], environ['PATH_INFO'])
        sys.stderr.write('pasteway: the app failed: %r\nTraceback (most recent call last):\n%s%s\n' % (line, frames, what))
        sys.stderr.flush()
        said = what.encode('utf-8', 'replace')[:1024]
        try:
            link.send(FRAME.pack(b'X', len(said)) + said)
        except OSError:
            pass


# The process
# -----------

def follow(front):
    """Has the kernel end this process with the front; where it cannot, the pulse sees it."""
    try:
        import ctypes

        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
        prctl(15, b'pasteway-worker', 0, 0, 0)  # PR_SET_NAME
    except (ImportError, OSError, AttributeError):
        pass
    # A front that ended before this moment sends no signal any more.
    if os.getppid() != front:
        os._exit(0)


def listening_socket():
    """The socket that the front left as standard input."""
    try:
        listener = Socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, os.dup(0))
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError('it does not listen')
    except OSError as error:
        raise Unusable('standard input is not a listening Unix socket: workers are started by the front', error)
    # One descriptor is enough: when it is closed, this process has stopped accepting.
    null = os.open('/dev/null', os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return listener


def start():
    """Everything before the first request."""
    front = int(os.environ.get('PASTEWAY_FRONT_PID') or os.getppid())
    follow(front)
    listener = listening_socket()
    with open(os.environ['PASTEWAY_WORKER'], encoding='utf-8') as file:
        manifest = json.load(file)
    if sys.path and os.path.realpath(sys.path[0] or '.') == os.path.dirname(os.path.realpath(__file__)):
        # Where this file lies, there is nothing for a service to import.
        del sys.path[0]
    frozen = Frozen(manifest['host']['frozen'])
    frozen.install()
    server = Server(listener, max(1, manifest['host']['threads']), front)
    service = Service(manifest)
    apps = service.start()
    settle_policies(frozen)
    settle_schemas()
    if manifest['host']['token_auth']:
        server.tokens.prepare()
    return server, service, apps


def main():
    faulthandler.enable()
    try:
        server, service, apps = start()
    except Exception as problem:
        if isinstance(problem, Unusable):
            code = UNUSABLE
        else:
            problem, code = Unusable('the worker cannot start', problem), 1
        os_write(2, problem.report().encode('utf-8', 'backslashreplace'))
        os._exit(code)
    # What the start has left behind is there for good; the collector need not look at it again.
    gc.collect()
    gc.freeze()

    def ready():
        service.hook('post_start_hook')
        known = facts()
        note('READY=1\nSTATUS=serving' + ('\nX_PASTEWAY_FACTS=' + json.dumps(known) if known else ''))

    server.serve(apps, ready)
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    # Threads that the service has left running must not hold up the end.
    os._exit(0)


NOTIFY_ADDRESS = os.environ.pop('NOTIFY_SOCKET', '')
NOTIFY = Socket(socket.AF_UNIX, socket.SOCK_DGRAM)
if NOTIFY_ADDRESS.startswith('@'):
    NOTIFY_ADDRESS = '\0' + NOTIFY_ADDRESS[1:]

if __name__ == '__main__':
    main()
