"""The controller of the trial; the rest of the project is as Pylons makes it."""

import logging

from pylons import request, response, session, tmpl_context as c, url
from pylons.controllers.util import abort, redirect

from trial.lib.base import BaseController, render

log = logging.getLogger(__name__)


class HelloController(BaseController):
    def index(self):
        c.name = request.params.get('name', 'world')
        log.info('hello to %s', c.name)
        return render('/hello.mako')

    def count(self):
        session['count'] = session.get('count', 0) + 1
        session.save()
        response.content_type = 'text/plain'
        return 'visit %d' % session['count']

    def form(self):
        if request.method != 'POST':
            abort(405, headers={'Allow': 'POST'})
        file = request.POST.get('file')
        return '%s, %d bytes' % (request.POST['title'], 0 if file is None else len(file.value))

    def go(self):
        redirect(url(controller='hello', action='index', name='Zoë'), code=303)

    def stream(self):
        response.content_type = 'text/plain'
        return (b'piece %d\n' % n for n in range(10000))

    def forbidden(self):
        abort(403, 'not for you')

    def nothing(self):
        response.status_int = 204
        del response.headers['Content-Type']
        return ''

    def fail(self):
        raise RuntimeError('it failed')
