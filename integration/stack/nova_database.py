"""nova_database.py ETC DB: the tables of DB_api, DB_cell0 and DB_cell1.sqlite, and the two cells.

What `nova-manage api_db sync`, `cell_v2 map_cell0`, `db sync` and `cell_v2 create_cell` do, in one process and with the
tables of a cell made once: the commands take four times as long.
"""
import os
import sqlite3
import sys

etc, db = sys.argv[1:]
sys.argv = ['nova-manage']

from nova import config, context, objects  # noqa: E402
from nova.db import migration  # noqa: E402
from oslo_utils import uuidutils  # noqa: E402

config.parse_args(sys.argv, default_config_files=[os.path.join(etc, 'nova.conf')])
objects.register_all()
migration.db_sync(database='api')
migration.db_sync(database='main')
with sqlite3.connect(db + '_cell1.sqlite') as one, sqlite3.connect(db + '_cell0.sqlite') as other:
    one.backup(other)

admin = context.get_admin_context()
for uuid, name, queue in ((objects.CellMapping.CELL0_UUID, 'cell0', 'none:///'),
                          (uuidutils.generate_uuid(), 'cell1', 'fake://')):
    connection = 'sqlite:///%s_%s.sqlite' % (db, name)
    objects.CellMapping(admin, uuid=uuid, name=name, transport_url=queue, database_connection=connection).create()

# Readers and a writer do not lock each other out; it stays with the files.
for part in ('api', 'cell0', 'cell1'):
    sqlite3.connect('%s_%s.sqlite' % (db, part)).execute('PRAGMA journal_mode=WAL')
