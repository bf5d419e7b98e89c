"""Nova's compute or metadata API for a server that has options of its own: it would take them for its own, and exit."""
import os
import sys

if os.environ['PASTEWAY_STACK_API'] == 'metadata':
    sys.argv = ['nova-api-metadata']
    from nova.wsgi.metadata import application  # noqa: F401
else:
    sys.argv = ['nova-api-os-compute']
    from nova.wsgi.osapi_compute import application  # noqa: F401
