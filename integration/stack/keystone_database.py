"""keystone_database.py KEYSTONE.CONF URL: tables, keys and the first administrator, in one process.

`keystone-manage` once for each would import Keystone four times.
"""
import getpass
import grp
import os
import sqlite3
import sys

conf, url = sys.argv[1:]
me, group = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
STEPS = [
    ['db_sync'],
    ['fernet_setup', '--keystone-user', me, '--keystone-group', group],
    ['credential_setup', '--keystone-user', me, '--keystone-group', group],
    ['bootstrap', '--bootstrap-username', 'admin', '--bootstrap-password', 'admin-pw', '--bootstrap-project-name',
     'admin', '--bootstrap-role-name', 'admin', '--bootstrap-service-name', 'keystone', '--bootstrap-region-id',
     'RegionOne', '--bootstrap-admin-url', url, '--bootstrap-internal-url', url, '--bootstrap-public-url', url],
]

from keystone.cmd import manage  # noqa: E402

for step in STEPS:
    sys.argv = ['keystone-manage', '--config-file', conf] + step
    status = manage.main()
    if status:
        sys.exit('%s: %s' % (step[0], status))
    manage.cli.CONF.reset()

# Readers and a writer do not lock each other out; it stays with the file.
sqlite3.connect(os.path.join(os.environ['PASTEWAY_STACK'], 'db', 'keystone.sqlite')).execute('PRAGMA journal_mode=WAL')
