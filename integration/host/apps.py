"""Apps that the tests have the host serve."""


def trivial(global_conf, **local_conf):
    body, headers = b'{"flavors": []}', [('Content-Type', 'application/json'), ('Content-Length', '15')]

    def app(environ, start_response):
        start_response('200 OK', headers)
        return [body]
    return app
