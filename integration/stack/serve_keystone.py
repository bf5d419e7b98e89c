"""Keystone for a server that has options of its own: it would take them for its own, and exit."""
import sys

sys.argv = ['keystone']
from keystone.wsgi.api import application  # noqa: E402,F401
