"""A real Keystone: its files and database, its process, and who and what it knows.

One process with threads: its cache in memory then never differs from another process's. Without that cache a
validation takes ten times as long.
"""
import os
import shutil
import sys

import room

VENV = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
# User, password, project, and roles there.
USERS = [
    ('demo', 'demo-pw', 'demo', ['member']),
    ('reader', 'reader-pw', 'demo', ['reader']),
    ('nova', 'nova-pw', 'service', ['admin', 'service']),
    # A service's account whose tokens count as service tokens, and one whose tokens do not.
    ('glance', 'glance-pw', 'service', ['service']),
    ('other', 'other-pw', 'service', ['member']),
]
RULES = [
    {'service': 'compute', 'method': 'GET', 'path': '/v2.1/flavors'},
    {'service': 'compute', 'method': 'GET', 'path': '/v2.1/os-keypairs/*'},
    {'service': 'compute', 'method': 'POST', 'path': '/v2.1/servers/**'},
    {'service': 'image', 'method': 'GET', 'path': '/v2.1/images'},
]
CONF = '''[DEFAULT]
log_file = {log}
[database]
connection = sqlite:///{db}
[token]
provider = fernet
expiration = 86400
[fernet_tokens]
key_repository = {etc}/fernet-keys
[credential]
key_repository = {etc}/credential-keys
[identity]
password_hash_rounds = 4
[cache]
enabled = True
backend = dogpile.cache.memory
'''


def environment():
    return {**os.environ, 'OS_KEYSTONE_CONFIG_DIR': room.path('etc', 'keystone'), 'PYTHONWARNINGS': 'ignore'}


def make(url):
    """Configuration, keys and database, once; a start that broke off in the middle begins anew."""
    etc, db, done = room.path('etc', 'keystone'), room.path('db', 'keystone.sqlite'), room.path('db', 'keystone.done')
    conf = room.path('etc', 'keystone', 'keystone.conf')
    with open(conf, 'w') as file:
        file.write(CONF.format(log=room.path('log', 'keystone.log'), db=db, etc=etc))
    if os.path.exists(done):
        return
    room.say('keystone: a new database')
    if os.path.exists(db):
        os.remove(db)
    for keys in ('fernet-keys', 'credential-keys'):
        shutil.rmtree(os.path.join(etc, keys), ignore_errors=True)
        os.makedirs(os.path.join(etc, keys), 0o700)
    room.run([sys.executable, os.path.join(room.HERE, 'keystone_database.py'), conf, url], 'setup-keystone.log',
             environment(), 'the making of the keystone database')
    open(done, 'w').close()


def start(facts):
    """Makes and starts it; returns an administrator's token."""
    mine = facts.setdefault('keystone', {})
    process = mine.get('processes', {}).get('keystone')
    if not room.lives(process):
        mine['port'] = room.free_port(mine.get('port'))
        mine['url'] = 'http://127.0.0.1:%d/v3' % mine['port']
        make(mine['url'])
        process = room.start('keystone', room.gunicorn(VENV, mine['port'], 1, 8, 'serve_keystone'), environment())
        mine['processes'] = {'keystone': process}
    facts['venv'] = VENV
    # What starts one more Keystone on the same database; the port goes behind `--bind 127.0.0.1:`.
    mine['command'] = room.gunicorn(VENV, '{port}', 1, 8, 'serve_keystone')
    mine['environment'] = room.own(environment())
    room.wait('keystone', mine['url'], process)
    room.say('keystone answers at %s' % mine['url'])
    return token(mine['url'], 'admin', 'admin-pw', {'project': {'name': 'admin', 'domain': {'id': 'default'}}})


def token(url, user, password, scope=None):
    who = {'name': user, 'domain': {'id': 'default'}, 'password': password}
    auth = {'identity': {'methods': ['password'], 'password': {'user': who}}}
    if scope:
        auth['scope'] = scope
    body, headers = room.call('POST', url + '/auth/tokens', body={'auth': auth})
    return {'id': headers['X-Subject-Token'], **body['token']}


def fill(facts, admin):
    """Projects, users, roles, endpoints and application credentials: what is not there yet."""
    mine = facts['keystone']
    url = mine['url']

    def call(method, where, body=None, token=admin['id']):
        return room.call(method, url + where, token, body)[0]

    def one(kind, match, **more):
        """The one that fits, made if there is none."""
        plural = kind + 's'
        for found in call('GET', '/' + plural)[plural]:
            if all(found.get(key) == value for key, value in match.items()):
                return found
        return call('POST', '/' + plural, {kind: {**match, **more}})[kind]

    roles = {role['name']: role['id'] for role in call('GET', '/roles')['roles']}
    projects = {'admin': admin['project']['id']}
    users = {'admin': {'id': admin['user']['id'], 'password': 'admin-pw', 'project': 'admin'}}
    for name, password, project, held in USERS:
        projects[project] = one('project', {'name': project}, domain_id='default')['id']
        user = one('user', {'name': name}, domain_id='default', password=password,
                   default_project_id=projects[project])['id']
        users[name] = {'id': user, 'password': password, 'project': project}
        for role in held:
            call('PUT', '/projects/%s/users/%s/roles/%s' % (projects[project], user, roles[role]))
    # Scopes other than a project: an administrator's and a reader's.
    for name, role in (('admin', 'admin'), ('reader', 'reader')):
        call('PUT', '/system/users/%s/roles/%s' % (users[name]['id'], roles[role]))
        call('PUT', '/domains/default/users/%s/roles/%s' % (users[name]['id'], roles[role]))
    for kind, name, address in [('identity', 'keystone', url)] + [
            (s['type'], s['name'], s['url']) for s in facts.get('catalog', {}).values()]:
        service = one('service', {'type': kind, 'name': name})['id']
        for interface in ('public', 'internal', 'admin'):
            match = {'service_id': service, 'interface': interface, 'region_id': 'RegionOne'}
            endpoint = one('endpoint', match, url=address)
            if endpoint['url'] != address:
                call('PATCH', '/endpoints/%s' % endpoint['id'], {'endpoint': {'url': address}})
    mine.update(users=users, projects=projects, credentials=credentials(url, users['demo']))


def credentials(url, demo):
    """Two application credentials of demo's, with access rules and without: their ids and secrets."""
    own = token(url, 'demo', demo['password'], {'project': {'name': 'demo', 'domain': {'id': 'default'}}})
    base = '%s/users/%s/application_credentials' % (url, demo['id'])
    have = {found['name']: found['id'] for found in room.call('GET', base, own['id'])[0]['application_credentials']}
    made = {}
    for name, more in (('ruled', {'access_rules': RULES}), ('plain', {})):
        secret = name + '-secret'
        if name not in have:
            body = {'application_credential': {'name': name, 'secret': secret, **more}}
            have[name] = room.call('POST', base, own['id'], body)[0]['application_credential']['id']
        made[name] = {'id': have[name], 'secret': secret}
    return made
