"""A real Nova: its files and databases, its processes, and what it knows. One class for both releases.

There is no compute host, no message queue, no image or block storage service: what needs them fails as it does in a
cloud where they are down.
"""
import hmac
import os
import shutil
import sys

import identity
import room

SECRET = 'meta-secret'
ACCOUNT = '''auth_type = password
auth_url = {keystone}
username = nova
password = nova-pw
project_name = service
user_domain_name = Default
project_domain_name = Default
region_name = RegionOne'''
CONF = '''[DEFAULT]
log_file = {room}/log/{name}-api.log
transport_url = fake://
rpc_response_timeout = 10
my_ip = 127.0.0.1
host = stack
state_path = {room}/state/{name}
{servers}[wsgi]
api_paste_config = {etc}/api-paste.ini
[database]
connection = sqlite:///{db}_cell1.sqlite
[api_database]
connection = sqlite:///{db}_api.sqlite
[oslo_concurrency]
lock_path = {room}/state/{name}/lock
[keystone_authtoken]
www_authenticate_uri = {keystone}
service_token_roles_required = True
{account}
[keystone]
{account}
[neutron]
service_metadata_proxy = True
metadata_proxy_shared_secret = {secret}
{account}
'''
# The eventlet servers open their ports themselves.
SERVERS = '''enabled_apis = osapi_compute,metadata
osapi_compute_listen = 127.0.0.1
osapi_compute_listen_port = {compute}
osapi_compute_workers = {workers}
metadata_listen = 127.0.0.1
metadata_listen_port = {metadata}
metadata_workers = {workers}
'''


class Nova:
    """`nova` (the current one, under gunicorn) or `nova31` (under its own eventlet servers)."""

    def __init__(self, name):
        self.name = name
        self.eventlet = name == 'nova31'
        self.venv = room.path('nova31') if self.eventlet else identity.VENV
        self.etc = os.path.dirname(room.path('etc', name, 'nova.conf'))
        self.db = room.path('db', name)
        self.workers = int(os.environ.get('PASTEWAY_WORKERS', 1))
        os.makedirs(room.path('state', name, 'lock'), exist_ok=True)

    def environment(self, **more):
        # A set variable, because Nova 31 patches itself on import without it; its servers do want that.
        patching = {} if self.eventlet and 'serving' in more else {'OS_NOVA_DISABLE_EVENTLET_PATCHING': '1'}
        more.pop('serving', None)
        return {**os.environ, 'OS_NOVA_CONFIG_DIR': self.etc, 'PYTHONWARNINGS': 'ignore', **patching, **more}

    def write(self, facts):
        """nova.conf for the ports as they are now; Nova's own paste file, as it is."""
        mine, keystone = facts.get(self.name, {}), facts.get('keystone', {}).get('url', 'http://127.0.0.1/v3')
        servers = SERVERS.format(compute=mine.get('compute_port'), metadata=mine.get('metadata_port'),
                                 workers=self.workers) if self.eventlet else ''
        with open(os.path.join(self.etc, 'nova.conf'), 'w') as file:
            file.write(CONF.format(room=room.DIRECTORY, name=self.name, etc=self.etc, db=self.db, servers=servers,
                                   keystone=keystone, secret=SECRET, account=ACCOUNT.format(keystone=keystone)))
        shutil.copyfile(os.path.join(self.venv, 'etc', 'nova', 'api-paste.ini'),
                        os.path.join(self.etc, 'api-paste.ini'))

    def command(self, port):
        return room.gunicorn(self.venv, port, self.workers, 4, 'serve_nova')

    def served(self, api):
        return self.environment(PASTEWAY_STACK_API=api)

    def run(self, script, *argv):
        room.run([os.path.join(self.venv, 'bin', 'python'), os.path.join(room.HERE, script), self.etc, *argv],
                 'setup-%s.log' % self.name, self.environment(), '%s for %s' % (script, self.name))

    def make(self):
        """Databases, once; a start that broke off in the middle begins anew."""
        if os.path.exists(self.db + '.done'):
            return
        room.say('%s: new databases' % self.name)
        for part in ('api', 'cell0', 'cell1'):
            for end in ('', '-wal', '-shm'):
                if os.path.exists('%s_%s.sqlite%s' % (self.db, part, end)):
                    os.remove('%s_%s.sqlite%s' % (self.db, part, end))
        if not os.path.exists(os.path.join(self.etc, 'nova.conf')):
            self.write(room.read())
        self.run('nova_database.py', self.db)
        open(self.db + '.done', 'w').close()

    def assign_ports(self, facts):
        """Chooses ports for what does not run, and says what Keystone's catalogue shall hold."""
        mine = facts.setdefault(self.name, {})
        if not self.running(mine):
            for port in ('compute_port', 'metadata_port', 'network_port'):
                mine[port] = room.free_port(mine.get(port))
        mine['url'] = 'http://127.0.0.1:%d' % mine['compute_port']
        mine['metadata_url'] = 'http://127.0.0.1:%d' % mine['metadata_port']
        # Only one of them can be in the catalogue as RegionOne's; the current one, where there is one.
        catalog = facts.setdefault('catalog', {})
        if not self.eventlet or 'nova' not in facts:
            catalog['compute'] = {'type': 'compute', 'name': 'nova', 'url': mine['url'] + '/v2.1'}
            network = 'http://127.0.0.1:%d' % mine['network_port']
            catalog['network'] = {'type': 'network', 'name': 'neutron', 'url': network}

    def running(self, mine):
        processes = mine.get('processes', {})
        return bool(processes) and all(room.lives(process) for process in processes.values())

    def start(self, facts):
        """Starts its processes and waits until each of them answers."""
        mine = facts[self.name]
        mine.update(etc=self.etc, venv=self.venv, paste=os.path.join(self.etc, 'api-paste.ini'),
                    conf=os.path.join(self.etc, 'nova.conf'), metadata_secret=SECRET)
        # What starts one more of them; the port goes behind `--bind 127.0.0.1:`.
        if not self.eventlet:
            mine['command'] = self.command('{port}')
            mine['environment'] = {api: room.own(self.served(api)) for api in ('compute', 'metadata')}
        if self.running(mine):
            room.say('%s runs already' % self.name)
            return
        for process in mine.pop('processes', {}).values():
            room.end(process)
        self.write(facts)
        project, user = facts['keystone']['projects']['demo'], facts['keystone']['users']['demo']['id']
        if mine.get('content_of') != project:
            self.run('nova_content.py', project, user, room.path('state', self.name, 'instances'))
            with open(room.path('state', self.name, 'instances')) as file:
                instances = file.read().split()
            # As Neutron's metadata proxy signs them.
            signatures = {one: hmac.new(SECRET.encode(), one.encode(), 'sha256').hexdigest() for one in instances}
            mine.update(instances=instances, signatures=signatures, content_of=project)
        processes = mine['processes'] = {}
        processes[self.name + '-network'] = room.start(
            self.name + '-network',
            [sys.executable, os.path.join(room.HERE, 'network.py'), str(mine['network_port'])])
        if self.eventlet:
            processes[self.name] = room.start(
                self.name, [os.path.join(self.venv, 'bin', 'nova-api'), '--config-file', mine['conf']],
                self.environment(serving=True))
            room.wait(self.name, mine['url'], processes[self.name])
            room.wait(self.name, mine['metadata_url'], processes[self.name])
        else:
            for api in ('compute', 'metadata'):
                name = '%s-%s' % (self.name, api)
                processes[name] = room.start(name, self.command(mine[api + '_port']), self.served(api))
            for api, url in (('compute', mine['url']), ('metadata', mine['metadata_url'])):
                room.wait('%s-%s' % (self.name, api), url, processes['%s-%s' % (self.name, api)])
        room.say('%s answers at %s, metadata at %s' % (self.name, mine['url'], mine['metadata_url']))
