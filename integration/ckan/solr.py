"""Stands in for Solr: keeps what CKAN indexes, and finds it by name or id, or all of it. No analysis, no facets, no order
but that of coming. Each core has its own.

Usage: solr.py PORT SCHEMA, the file of CKAN's that it claims to follow
"""

import collections
import http.server
import json
import pathlib
import re
import sys
import urllib.parse
import xml.etree.ElementTree

cores = collections.defaultdict(dict)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        url = urllib.parse.urlsplit(self.path)
        _, _, core, handler, *_ = url.path.split("/")
        kept, answer = cores[core], {"responseHeader": {"status": 0, "QTime": 0}}
        if handler == "select":
            words = urllib.parse.parse_qs(url.query or body)
            asked = " ".join(words.get("q", []) + words.get("fq", []))
            names = re.findall(r'(?:^|[ (])(?:name|id):"?([\w-]+)', asked)
            found = [doc for doc in kept.values() if not names or doc.get("name") in names or doc.get("id") in names]
            rows = int(words.get("rows", ["10"])[0])
            answer["response"] = {"numFound": len(found), "start": 0, "docs": found[:rows]}
            answer["facet_counts"] = {"facet_fields": {}}
        elif handler == "update" and "xml" in self.headers.get("Content-Type", ""):
            # Deletions and commits.
            for id in re.findall(r'index_id:"?(\w+)', "".join(xml.etree.ElementTree.fromstring(body).itertext())):
                kept.pop(id, None)
        elif handler == "update":
            told = json.loads(body)
            for doc in told if isinstance(told, list) else [told["add"]["doc"]]:
                kept[doc["index_id"]] = doc
        body = pathlib.Path(sys.argv[2]).read_bytes() if handler == "schema" else json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
