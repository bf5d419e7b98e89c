"""stack.py up|down [keystone] [nova] [nova31]: what `up` and `down` beside it do once Python packages are there.

The order of things: databases at the same time, Keystone before what asks it for tokens, all Novas at the same time.
"""
import sys
from concurrent.futures import ThreadPoolExecutor

import compute
import identity
import room

EVERYTHING = ['keystone', 'nova', 'nova31']


def up(names):
    facts = room.read()
    try:
        bring(names, facts)
    finally:
        # Also after a failure: what did start is found and ended by `down`.
        room.write(facts)
    room.say('up: %s; see %s' % (' '.join(names), room.path('stack.json')))


def bring(names, facts):
    novas = [compute.Nova(name) for name in names if name != 'keystone']
    with ThreadPoolExecutor() as pool:
        made = [pool.submit(nova.make) for nova in novas]
        keystone = identity.start(facts)
        room.write(facts)
        for done in made:
            done.result()
        for nova in novas:
            nova.assign_ports(facts)
        identity.fill(facts, keystone)
        room.write(facts)
        for done in [pool.submit(nova.start, facts) for nova in novas]:
            done.result()


def down(names):
    facts = room.read()
    found = {}
    for name in names or EVERYTHING:
        found.update(facts.get(name, {}).get('processes', {}))
        if name in facts:
            facts[name]['processes'] = {}
    with ThreadPoolExecutor() as pool:
        list(pool.map(room.end, found.values()))
    room.write(facts)
    room.say('down: %s' % (' '.join(found) or 'nothing ran'))


if __name__ == '__main__':
    held = room.lock() if sys.argv[1] == 'down' else None  # `up` holds it already
    try:
        {'up': up, 'down': down}[sys.argv[1]](sys.argv[2:])
    except room.Failed as error:
        sys.exit('stack: %s' % error)
