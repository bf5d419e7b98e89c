"""network.py PORT: answers as a Neutron would that has no ports, networks or security groups.

Nova asks it when it shows an instance. This is no Neutron: it only says that there is nothing.
"""
import http.server
import json
import sys


class Nothing(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        path = self.path.partition('?')[0].strip('/').split('/')
        if path == ['']:
            link = {'rel': 'self', 'href': 'http://%s/v2.0/' % self.headers.get('Host')}
            answer = {'versions': [{'id': 'v2.0', 'status': 'CURRENT', 'links': [link]}]}
        else:
            answer = {path[-1].replace('-', '_'): []}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Nothing).serve_forever()
