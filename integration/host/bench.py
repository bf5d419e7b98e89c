"""CPU that the host adds to a call of an app: a trivial app, 15 headers and a 2 KB catalog. `python3 bench.py [PYTHON]`

Prints µs of the host's processor time per call, system calls included, for one thread and for four with four callers.
"""

import sys
import threading
import time

import front

CALLS = 20000
CATALOG = ('[' + ', '.join(['{"type": "compute", "name": "nova", "endpoints": [{"region": "RegionOne", "publicURL": '
                            '"http://127.0.0.1:8774/v2.1", "internalURL": "http://127.0.0.1:8774/v2.1"}]}'] * 13) + ']')[:2048]
HEADERS = dict(
    HTTP_ACCEPT='application/json', HTTP_ACCEPT_ENCODING='gzip, deflate', HTTP_CONNECTION='keep-alive',
    HTTP_USER_AGENT='python-novaclient', HTTP_OPENSTACK_API_VERSION='compute 2.1', HTTP_X_AUTH_TOKEN='g' * 180,
    HTTP_X_USER_ID='u' * 32, HTTP_X_USER_NAME='admin', HTTP_X_PROJECT_ID='p' * 32, HTTP_X_PROJECT_NAME='admin',
    HTTP_X_ROLES='admin,member,reader', HTTP_X_SERVICE_CATALOG=CATALOG, HTTP_X_IDENTITY_STATUS='Confirmed',
    HTTP_X_IS_ADMIN_PROJECT='True', HTTP_X_DOMAIN_ID=None, HTTP_X_DOMAIN_NAME=None, HTTP_X_SERVICE_ROLES=None,
    openstack__request_id='req-6f2b8a26-5dbd-4fd8-9d2a-8d6f0e1c2b3a', nova__best_content_type='application/json')
TOKEN = b'{"token": {"roles": [], "catalog": ' + CATALOG.encode() + b'}}'


def bench(python, threads, callers, info=b''):
    with front.Host([front.app('apps:trivial')], python=python, threads=threads) as host:
        host.ready()
        told = {'REQUEST_METHOD': 'GET', 'QUERY_STRING': '', 'SERVER_NAME': 'h', 'SERVER_PORT': '8774',
                'SERVER_PROTOCOL': 'HTTP/1.1', 'REMOTE_ADDR': '127.0.0.1', 'wsgi.url_scheme': 'http', 'HTTP_HOST': 'h'}
        told.update((key.replace('__', '.'), value) for key, value in HEADERS.items())
        request = front.packet(told, path='/v2.1/flavors', info=info)
        size = []

        def caller(calls):
            link = host.link()
            link.send(request)
            link.response()
            for _ in range(calls):
                link.socket.sendall(request)
                data = link.socket.recv(65536)
                assert data.endswith(b'E\0\0\0\0'), data
            link.close()

        caller(1000)
        before, begun = host.cpu(), time.monotonic()
        threads_of_callers = [threading.Thread(target=caller, args=(CALLS // callers,)) for _ in range(callers)]
        for thread in threads_of_callers:
            thread.start()
        for thread in threads_of_callers:
            thread.join()
        took = time.monotonic() - begun
        return (host.cpu() - before) / CALLS * 1e6, CALLS / took


def main():
    python = sys.argv[1] if len(sys.argv) > 1 else sys.executable
    for threads, callers, info, what in [(1, 1, b'', ''), (4, 1, b'', ''), (4, 4, b'', ''), (1, 1, TOKEN, ', token_info')]:
        cpu, rate = bench(python, threads, callers, info)
        print('threads %d, callers %d%s: %.1f µs CPU per call, %.0f calls/s' % (threads, callers, what, cpu, rate))


if __name__ == '__main__':
    main()
