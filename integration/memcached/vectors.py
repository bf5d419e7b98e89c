"""Writes what the real middlewares keep in memcached, as fixed vectors for the unit tests of the token cache.

Usage: vectors.py modern|havana|selection > src/filter/authtoken/cache/vectors/NAME.json

`modern` drives keystonemiddleware's own token caches over a client that only remembers what it was told to set;
`havana` (Python 2.7, keystoneclient 0.4.1) uses its memcache_crypt. The IVs of ENCRYPT are random: each run gives other
values, all of them good. `selection` asks python-memcached which servers it tries for a key. Must not know Pasteway.
"""
import contextlib
import json
import sys

TOKENS = ["0123456789abcdef0123456789abcdef", "gAAAAABlx-_9" + "Zm9vYmFy" * 20]
SECRET = "swordfish"
DATA = {"token": {"expires_at": "2099-01-02T03:04:05.000000Z", "user": {"id": "u1", "name": "J\u00fcrgen"}}}


class Remembering(object):
    """A memcached client that remembers what it was told to set."""

    def __init__(self):
        self.kept = {}

    def set(self, key, value, time=0):
        self.kept[key] = value

    def get(self, key):
        return self.kept.get(key)


class Pool(object):
    """Lends the one client, as the middleware's own pools do."""

    def __init__(self, client):
        self.client = client

    @contextlib.contextmanager
    def reserve(self):
        yield self.client


def text(value):
    return value.decode("ascii") if isinstance(value, bytes) and sys.version_info[0] > 2 else value


def modern():
    import logging

    from keystonemiddleware.auth_token import _cache

    for strategy in [None, "MAC", "ENCRYPT", "encrypt"]:
        for token in TOKENS:
            for data in [DATA, "invalid"]:
                client = Remembering()
                log = logging.getLogger("vectors")
                if strategy:
                    cache = _cache.SecureTokenCache(log, strategy, SECRET, cache_time=300)
                else:
                    cache = _cache.TokenCache(log, cache_time=300)
                cache._cache_pool = Pool(client)
                cache.set(token, data)
                assert cache.get(token) == data
                (key, value), = client.kept.items()
                yield {"strategy": strategy, "token": token, "key": key, "value": text(value), "json": json.dumps(data)}


def havana():
    from keystoneclient.middleware import memcache_crypt as crypt

    for strategy in ["MAC", "ENCRYPT"]:
        for token in TOKENS:
            for data in [[DATA, "2099-01-02T03:04:05.000000Z"], "invalid"]:
                keys = crypt.derive_keys(token, SECRET, strategy)
                value = crypt.protect_data(keys, json.dumps(data))
                key = "tokens/%s" % crypt.get_cache_key(keys)
                assert crypt.unprotect_data(keys, value) == json.dumps(data)
                yield {"strategy": strategy, "token": token, "key": key, "value": value, "json": json.dumps(data)}


def selection():
    """The servers that python-memcached tries for a key, one after the other, when all of them are dead."""
    import memcache

    for number in [1, 2, 3, 5]:
        client = memcache.Client(["127.0.0.%d:1" % (n + 1) for n in range(number)])
        for key in ["tokens/%d" % n for n in range(24)]:
            tried = []
            for host in client.servers:
                host.connect = lambda host=host: tried.append(client.servers.index(host)) or False
            client._get_server(key.encode())
            yield {"servers": number, "key": key, "tried": tried}


vectors = {"modern": modern, "havana": havana, "selection": selection}[sys.argv[1]]()
print("[\n" + ",\n".join(json.dumps(vector, sort_keys=True) for vector in vectors) + "\n]")
