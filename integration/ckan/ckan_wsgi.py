"""CKAN's application from the ini file that CKAN_INI names: what its documentation has WSGI servers import."""

from ckan.cli import load_config
from ckan.config.middleware import make_app

application = make_app(load_config())
