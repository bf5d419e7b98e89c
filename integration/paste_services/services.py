"""The apps and the filter of basic.ini."""


class Says:
    def __init__(self, status, text):
        self.status, self.text = status, text

    def __call__(self, environ, start_response):
        body = self.text.encode()
        start_response(self.status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]


def says(global_conf, text, status="200 OK"):
    return Says(status, text)


def mark(global_conf, name):
    def filtered(app):
        def marked(environ, start_response):
            def start(status, headers, exc_info=None):
                return start_response(status, [*headers, ("X-Mark", name)], exc_info)
            return app(environ, start)
        return marked
    return filtered


def swift_proxy(global_conf, **local_conf):
    """Swift's proxy as Swift's own loader makes it: with its directory set, and its section's name in the options."""
    from swift.common.utils import set_swift_dir
    from swift.proxy.server import app_factory

    set_swift_dir(global_conf["swift_dir"])
    return app_factory(global_conf, __name__="proxy-server", **local_conf)
