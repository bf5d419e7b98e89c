"""The token cache of the installed keystonemiddleware, for a test that talks to it in JSON lines.

Usage: original.py '{"memcached_servers": "...", ...}'; then {"get": TOKEN} or {"set": TOKEN, "data": DATA} per line.
The cache is made by the middleware itself from its options. Must not know Pasteway.
"""
import json
import sys

from keystonemiddleware import auth_token

options = {
    "auth_type": "none",
    "delay_auth_decision": "true",
    "www_authenticate_uri": "http://127.0.0.1:1",
}
options.update(json.loads(sys.argv[1]))

cache = auth_token.AuthProtocol(lambda environ, start: [], options)._token_cache
cache.initialize({})
for line in sys.stdin:
    question = json.loads(line)
    if "set" in question:
        cache.set(question["set"], question["data"])
        answer = "done"
    else:
        answer = cache.get(question["get"])
    print(json.dumps(answer), flush=True)
