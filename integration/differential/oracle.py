# Asks the real PasteDeploy and the real oslo.config: one JSON request per line of standard input, one JSON answer per
# line of standard output. No factory is imported and no distribution looked for. Runs on Python 2.7 with PasteDeploy
# 1.5.2 and oslo.config 1.2.1, and on Python 3 with the newest of both.
from __future__ import print_function

import json
import logging
import os
import signal
import site
import sys

# A directory that pip filled by --target: its namespace packages are declared in .pth files.
if os.environ.get('PASTEWAY_ORACLE_PATH'):
    site.addsitedir(os.environ['PASTEWAY_ORACLE_PATH'])

from paste.deploy import loadwsgi as L

try:
    from oslo_config import cfg, types
except ImportError:
    from oslo.config import cfg

    types = None

PY2 = sys.version_info[0] == 2
# Files that refer to each other again and again would take the real library years.
SECONDS = 5


class Slow(BaseException):
    pass


def on_alarm(signum, frame):
    raise Slow()


def text(error):
    shown = str(error)
    return shown.decode('utf-8', 'replace') if PY2 else shown


def exception(error):
    if isinstance(error, Slow):
        return {'slow': True}
    return {'error': type(error).__name__, 'message': text(error)}


# ---- PasteDeploy -----------------------------------------------------------------------------------------------------


class Named(object):
    def __init__(self, spec):
        self.spec = spec


def only_names():
    """Makes the loader name objects where it would import them."""
    L.lookup_object = lambda spec: Named('call:' + spec)
    if hasattr(L, 'import_string'):
        L.import_string = lambda spec: Named('import:' + spec)
        L.pkg_resources.require = lambda *spec: []
    else:

        class EntryPoint(object):
            def __init__(self, name=None, group=None, value=None):
                self.value = value

            def load(self):
                return Named('import:' + self.value)

        class Metadata(object):
            distribution = staticmethod(lambda spec: None)

        Metadata.EntryPoint = EntryPoint
        L.importlib_metadata = Metadata

    def egg(self, object_type, name=None, global_conf=None):
        if self.absolute_name(name):
            return L.loadcontext(object_type, name, global_conf=global_conf)
        named = Named('egg:%s#%s' % (self.spec, name or 'main'))
        return L.LoaderContext(named, object_type, 'egg(unknown)', global_conf or {}, {}, self)

    L.EggLoader.get_context = egg


def tree(context):
    shown = {
        'type': context.object_type.name,
        'protocol': context.protocol,
        'object': getattr(context.object, 'spec', None),
        'global_conf': dict(context.global_conf),
        'local_conf': dict(context.local_conf),
    }
    if context.object_type is L.PIPELINE:
        shown['filters'] = [tree(one) for one in context.filter_contexts]
        shown['app'] = tree(context.app_context)
    elif context.object_type in (L.FILTER_APP, L.FILTER_WITH):
        shown['filter'] = tree(context.filter_context)
        shown['next'] = tree(context.next_context)
    return shown


KINDS = {'app': L.APP, 'filter': L.FILTER, 'server': L.SERVER}
PREFIXES = {
    'app': 'app',
    'application': 'app',
    'composite': 'app',
    'composit': 'app',
    'pipeline': 'app',
    'filter-app': 'app',
    'filter': 'filter',
    'server': 'server',
}


def plain(value):
    """Text as the configuration file's reader of Python 2 wants it: bytes."""
    if PY2 and not isinstance(value, (type(None), dict)):
        return value.encode('utf-8')
    if PY2 and isinstance(value, dict):
        return dict((plain(k), plain(v)) for k, v in value.items())
    return value


def one(kind, uri, name=None, relative_to=None, global_conf=None):
    try:
        context = L.loadcontext(
            KINDS[kind],
            plain(uri),
            name=plain(name),
            relative_to=plain(relative_to),
            global_conf=plain(global_conf),
        )
        return {'ok': tree(context)}
    except BaseException as error:
        return exception(error)


def whole(path):
    try:
        loader = L.ConfigLoader(plain(path))
    except BaseException as error:
        answer = exception(error)
        return {'parse_error': answer['error'], 'message': answer['message']} if 'error' in answer else answer
    sections = loader.parser.sections()
    answer = {'sections': sorted(sections) if PY2 else sections, 'contexts': {}}
    try:
        answer['defaults'] = dict(loader.parser.defaults())
    except BaseException as error:
        answer['defaults'] = exception(error)
    for section in sections:
        prefix, _, name = section.partition(':')
        kind = PREFIXES.get(prefix)
        if kind is not None:
            known = one(kind, 'config:' + path, (name.strip() or 'main').decode('utf-8') if PY2 else name.strip() or 'main')
            answer['contexts'][section] = known
    return answer


def paste(request):
    answers = []
    for call in request['calls']:
        signal.alarm(SECONDS)
        try:
            if 'whole' in call:
                answers.append(whole(call['whole']))
            else:
                answers.append(one(**call))
        except Slow:
            answers.append({'slow': True})
        finally:
            signal.alarm(0)
    return answers


# ---- oslo.config -----------------------------------------------------------------------------------------------------

OPTIONS = []
# The library says why it ends the program.
QUIET = open(os.devnull, 'w')


class Heard(logging.Handler):
    def __init__(self):
        logging.Handler.__init__(self)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


HEARD = Heard()


def option(spec):
    """One option of the table: {name, group, kind, default, deprecated, cli} and what its kind needs."""
    kind, default = spec['kind'], spec['default']
    more = {}
    if spec['deprecated']:
        if types:
            more['deprecated_opts'] = [cfg.DeprecatedOpt(name, group=group) for group, name in spec['deprecated']]
        else:
            more['deprecated_group'], more['deprecated_name'] = plain(spec['deprecated'][0][0]), plain(spec['deprecated'][0][1])
    name = plain(spec['name'])
    if kind == 'int' and default is not None:
        default = int(default)
    if kind == 'list' and default is not None:
        default = plain(default).split(',') if default else []
    if kind == 'multi' and default is not None:
        default = [plain(default)]
    if kind in ('text', 'choice') and default is not None:
        default = plain(default)
    if kind == 'text':
        return cfg.StrOpt(name, default=default, **more)
    if kind == 'bool':
        return cfg.BoolOpt(name, default=default, **more)
    if kind == 'int':
        if spec.get('min') is not None or spec.get('max') is not None:
            more.update(min=spec.get('min'), max=spec.get('max'))
        return cfg.IntOpt(name, default=default, **more)
    if kind == 'float':
        return cfg.FloatOpt(name, default=default, **more)
    if kind == 'list':
        return cfg.ListOpt(name, default=default, **more)
    if kind == 'multi':
        return cfg.MultiStrOpt(name, default=default, **more)
    if kind == 'choice':
        return cfg.Opt(name, type=types.String(choices=spec['words'], ignore_case=spec['any_case']), default=default, **more)
    if kind == 'quoted':
        return cfg.Opt(name, type=types.List(types.String(quotes=True)), default=default, **more)
    if kind == 'bounded':
        return cfg.ListOpt(name, bounds=True, default=default, **more)
    return cfg.DictOpt(name, default=default, **more)


def directories(root):
    """Looks below `root` where the library looks in /etc."""
    original = cfg._get_config_dirs

    def moved(project=None):
        found = original(project)
        return [root + found_dir if found_dir.startswith('/etc') else found_dir for found_dir in found]

    cfg._get_config_dirs = moved
    return original


def value(shown):
    if isinstance(shown, float) and (shown != shown or shown in (float('inf'), float('-inf'))):
        return repr(shown)
    return shown


def oslo(request):
    conf = cfg.ConfigOpts()
    for spec in OPTIONS:
        group = None if spec['group'] == 'DEFAULT' else plain(spec['group'])
        register = conf.register_cli_opt if spec['cli'] else conf.register_opt
        register(option(spec), group=group)
    root = plain(request['root'])
    environ = dict(os.environ)
    os.environ['HOME'] = root + '/home'
    os.environ.update(dict((plain(k), plain(v)) for k, v in request['env'].items()))
    os.chdir(root)
    original = directories(root)
    HEARD.lines = []
    answer = {'values': {}}
    stderr, sys.stderr = sys.stderr, QUIET
    signal.alarm(SECONDS)
    try:
        conf([plain(arg) for arg in request['args']], project='nova', prog='nova-api')
        for name in request['names']:
            group, _, dest = name.partition('.')
            try:
                holder = conf if group == 'DEFAULT' else getattr(conf, group)
                answer['values'][name] = value(getattr(holder, dest))
            except BaseException as error:
                answer['values'][name] = exception(error)
    except BaseException as error:
        answer = {'parse': exception(error)}
    finally:
        signal.alarm(0)
        sys.stderr = stderr
        cfg._get_config_dirs = original
        os.environ.clear()
        os.environ.update(environ)
    answer['heard'] = HEARD.lines
    return answer


def main():
    signal.signal(signal.SIGALRM, on_alarm)
    only_names()
    logger = logging.getLogger(cfg.__name__)
    logger.addHandler(HEARD)
    logger.propagate = False
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        request = json.loads(line)
        if request['ask'] == 'paste':
            answer = paste(request)
        elif request['ask'] == 'options':
            OPTIONS[:] = request['options']
            answer = {'python': '%d.%d' % sys.version_info[:2]}
        else:
            answer = oslo(request)
        print(json.dumps(answer))
        sys.stdout.flush()


if __name__ == '__main__':
    main()
