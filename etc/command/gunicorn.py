"""gunicorn's part of gunicorn.conf. The app stands here because Nova takes the server's arguments for its own."""

import os

wsgi_app = 'nova.wsgi.%s:application' % os.environ['PASTEWAY_API']
workers = 1
threads = 4
# One line may hold a token or its catalog.
limit_request_field_size = 65535
