"""The Python host against a scripted front. `sh integration/host/run`"""

import json
import os
import signal
import socket
import struct
import time
import unittest

import front
from front import Failed, Gone, Host, app, context


def wait_for(path):
    deadline = time.monotonic() + front.DEADLINE
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise AssertionError('%s never came' % path)
        time.sleep(0.005)


class Requests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        names = ['echo', 'valid', 'lines', 'forms', 'tokens']
        cls.mount = {name: index for index, name in enumerate(names)}
        cls.host = Host([app('apps:' + name) for name in names], threads=2).ready()

    @classmethod
    def tearDownClass(cls):
        cls.host.__exit__()

    def setUp(self):
        self.link = self.host.link()

    def tearDown(self):
        self.link.close()

    def echo(self, **kwargs):
        return json.loads(self.link.ask(mount=self.mount['echo'], **kwargs).body)

    def form(self, name, **kwargs):
        return self.link.ask(path='/' + name, mount=self.mount['forms'], **kwargs)

    def test_the_environ_is_what_the_front_said(self):
        told = self.echo(script='/v2.1', path='/a\0\xe4', HTTP_X_DOMAIN_ID=None, HTTP_X_USER_NAME='\u017c',
                         openstack__legacy_v2=True, REMOTE_ADDR='1.1.1.1, 2.2.2.2')
        self.assertEqual(told['SCRIPT_NAME'], '/v2.1')
        self.assertEqual(told['PATH_INFO'], '/a\0\xe4')
        self.assertIsNone(told['HTTP_X_DOMAIN_ID'])
        self.assertEqual(told['HTTP_X_USER_NAME'], '\u017c')
        self.assertIs(told['openstack.legacy_v2'], True)
        self.assertEqual(told['REMOTE_ADDR'], '1.1.1.1, 2.2.2.2')
        self.assertEqual(told['wsgi.version'], [1, 0])
        self.assertIs(told['wsgi.input_terminated'], True)
        self.assertIs(told['wsgi.multithread'], True)
        self.assertIs(told['wsgi.multiprocess'], True)
        self.assertIs(self.echo(alone=True)['wsgi.multiprocess'], False)
        self.assertEqual(told['read'], '')

    def test_a_request_leaves_nothing_for_the_next_one(self):
        self.echo(HTTP_X_SECRET='s')
        self.assertNotIn('HTTP_X_SECRET', self.echo())

    def test_bodies_of_any_size_and_cut_reach_the_app(self):
        for pieces in [b'', b'abc', [b'a', b'b', b'c'], [b'x' * 70000, b'y' * 70000], b'z' * 1000000]:
            whole = pieces if isinstance(pieces, bytes) else b''.join(pieces)
            self.assertEqual(self.echo(method='POST', body=pieces)['read'], whole.decode())

    def test_packets_and_frames_may_come_byte_by_byte(self):
        environ = {'REQUEST_METHOD': 'POST', 'QUERY_STRING': ''}
        data = front.packet(environ, self.mount['echo'], path='/p', body=True)
        data += front.frame(b'ab') + front.frame(b'c') + front.frame(b'')
        for n in range(len(data)):
            self.link.send(data[n:n + 1])
        told = json.loads(self.link.response().body)
        self.assertEqual((told['PATH_INFO'], told['read']), ('/p', 'abc'))

    def test_the_validator_has_nothing_to_complain_of(self):
        environ = dict(mount=self.mount['valid'], SERVER_SOFTWARE='x')
        self.assertEqual(self.link.ask(body=b'one\ntwo\nthree', method='POST', CONTENT_LENGTH='13', **environ).body,
                         b'got one\ntwo\nthree')
        self.assertEqual(self.link.ask(body=[b'o', b'ne\n', b'two'], method='POST', **environ).body, b'got one\ntwo')
        self.assertEqual(self.link.ask(**environ).body, b'got ')
        self.assertEqual(self.link.ask('HEAD', **environ).body, b'')
        self.assertNotIn('without being closed', self.host.stderr())

    def test_lines_are_lines_across_frames(self):
        answer = self.link.ask('POST', body=[b'a\nb', b'c\n', b'd'], mount=self.mount['lines'])
        self.assertEqual(answer.body, repr([b'a\n', b'bc\n', b'd']).encode())

    def test_write_and_the_returned_pieces_are_one_body(self):
        self.assertEqual(self.form('write').body, b'written and returned')

    def test_a_generator_may_start_the_response_itself_and_its_pieces_go_out_one_by_one(self):
        answer = self.form('generator')
        self.assertEqual((answer.status, answer.pieces), ('202 Later', [b'one ', b'two']))

    def test_files_and_large_bodies_come_whole(self):
        with open(os.path.join(front.HERE, 'apps.py'), 'rb') as file:
            self.assertEqual(self.form('file').body, file.read())
        self.assertEqual(self.form('large').body, b'x' * 3000000)

    def test_responses_without_a_body_have_none(self):
        self.assertEqual(self.form('nothing').pieces, [])
        head = self.form('write', method='HEAD')
        self.assertEqual((head.status, head.pieces), ('200 OK', []))

    def test_a_head_that_was_not_sent_can_be_replaced(self):
        answer = self.form('recovered')
        self.assertEqual((answer.status, answer.body), ('500 Sorry', b'sorry'))

    def test_an_app_s_mistake_is_a_failure_and_its_traceback_in_the_log(self):
        for form, why in [('raises', 'ValueError: boom'), ('raises-late', 'ValueError: boom'),
                          ('twice', 'AssertionError'), ('too-late', 'KeyError'), ('silent', 'AssertionError'),
                          ('text', 'TypeError'), ('injected', 'ValueError')]:
            with self.assertRaises(Failed, msg=form) as failure:
                self.form(form)
            self.assertIn(why, str(failure.exception))
            with self.assertRaises((Gone, BrokenPipeError)):
                self.form('generator')
            self.link = self.host.link()
        self.host.logs('apps.py", line')

    def test_the_iterator_is_closed_at_its_end_and_when_the_client_goes(self):
        self.form('closing')
        self.assertEqual(self.form('closed').body, b'True')
        self.link.send(front.packet({'REQUEST_METHOD': 'GET'}, self.mount['forms'], path='/endless'))
        self.link.frame()
        self.link.close()
        self.link = self.host.link()
        self.assertEqual(self.form('closed').body, b'True')

    def test_a_body_that_nobody_reads_does_not_disturb_the_next_request(self):
        self.assertEqual(self.form('unread', method='POST', body=[b'x' * 50000] * 4).status, '413 Too Large')
        self.assertEqual(self.form('generator').body, b'one two')

    def test_a_request_that_comes_right_behind_an_unread_body_is_served(self):
        environ = {'REQUEST_METHOD': 'POST'}
        data = front.packet(environ, self.mount['forms'], path='/unread', body=True)
        data += front.frame(b'x' * 50000) + front.frame(b'')
        self.link.send(data + front.packet(environ, self.mount['forms'], path='/generator'))
        self.assertEqual(self.link.response().status, '413 Too Large')
        self.assertEqual(self.link.response().body, b'one two')

    def test_a_client_that_goes_in_the_middle_of_its_body_is_no_traceback(self):
        said = self.host.stderr()
        self.link.send(front.packet({'REQUEST_METHOD': 'POST'}, self.mount['echo'], body=True) + struct.pack('>I', 9))
        self.link.socket.shutdown(socket.SHUT_WR)
        with self.assertRaises(Gone):
            self.link.response()
        self.assertEqual(self.host.stderr(), said)

    def test_a_token_is_parsed_when_somebody_looks(self):
        info = b'{"token": {"user": {"id": "u1", "name": "n"}, "methods": ["password"], "expires_at": "2030-01-01T00:00:00Z"}}'
        told = json.loads(self.link.ask(mount=self.mount['tokens'], info=info, HTTP_X_AUTH_TOKEN='t').body)
        self.assertTrue(told['untouched'] and told['same'] and told['exact'])
        self.assertEqual(told['user'], {'id': 'u1', 'name': 'n'})
        self.assertEqual(json.loads(told['dumped']), json.loads(info))
        self.assertEqual(json.loads(told['again']), json.loads(info))
        try:
            import keystonemiddleware  # noqa: F401
        except ImportError:
            self.assertIsNone(told['auth'])
        else:
            self.assertEqual(told['auth'], ['t', 'u1', False])


class Lives(unittest.TestCase):
    def test_an_idle_connection_binds_no_thread(self):
        for threads in (1, 2):
            with Host([app('apps:trivial')], threads=threads) as host:
                host.ready()
                links = [host.link() for _ in range(8)]
                for link in links + links:
                    self.assertEqual(link.ask().status, '200 OK')

    def test_as_many_requests_as_threads_are_served_at_once(self):
        with Host([app('apps:meeting')], threads=3) as host:
            host.ready()
            links = [host.link() for _ in range(3)]
            for link in links:
                link.send(front.packet({'REQUEST_METHOD': 'GET'}))
            self.assertEqual([link.response().body for link in links], [b'met'] * 3)

    def test_sigterm_lets_what_is_in_flight_finish(self):
        for threads in (1, 2):
            with front.tempfile.TemporaryDirectory() as dir:
                path = os.path.join(dir, 'gate')
                with Host([app('apps:gate', path=path)], threads=threads) as host:
                    host.ready()
                    link = host.link()
                    link.send(front.packet({'REQUEST_METHOD': 'GET'}))
                    wait_for(path + '.in')
                    host.process.send_signal(signal.SIGTERM)
                    host.note('STOPPING=1')
                    host.refuses()
                    host.note('WATCHDOG=1')
                    open(path + '.out', 'w').close()
                    self.assertEqual(link.response().body, b'done')
                    self.assertEqual(host.ended(), 0, host.stderr())

    def test_a_worker_without_work_leaves_at_once_when_the_front_has_closed(self):
        with Host([app('apps:trivial')]) as host:
            host.ready()
            link = host.link()
            link.ask()
            link.close()
            host.process.send_signal(signal.SIGTERM)
            self.assertEqual(host.ended(), 0, host.stderr())

    def test_heartbeats_come_while_idle_and_while_every_thread_works(self):
        for threads in (1, 2):
            with front.tempfile.TemporaryDirectory() as dir:
                path = os.path.join(dir, 'gate')
                with Host([app('apps:gate', path=path)], threads=threads) as host:
                    host.ready()
                    host.note('WATCHDOG=1')
                    links = [host.link() for _ in range(threads)]
                    for link in links:
                        link.send(front.packet({'REQUEST_METHOD': 'GET'}))
                    wait_for(path + '.in')
                    for _ in range(3):
                        host.note('WATCHDOG=1')
                    open(path + '.out', 'w').close()
                    for link in links:
                        self.assertEqual(link.response().body, b'done')

    def test_sigabrt_shows_where_every_thread_stands(self):
        with Host([app('apps:trivial')], threads=2) as host:
            host.ready()
            host.process.send_signal(signal.SIGABRT)
            self.assertEqual(host.ended(), -signal.SIGABRT)
            self.assertIn('Fatal Python error: Aborted', host.stderr())

    def test_a_host_that_the_front_did_not_start_ends(self):
        with Host([app('apps:trivial')], env={'PASTEWAY_FRONT_PID': '1'}) as host:
            self.assertEqual(host.ended(), 0)


class Loading(unittest.TestCase):
    def seen(self, host, mount=0, path='/'):
        return json.loads(host.ready().link().ask(mount=mount, path=path).body)

    def test_filters_of_both_protocols_wrap_the_app_from_the_inside_out(self):
        outer = context('filter:a', 'apps:marked', 'filter', 'paste.filter_factory', mark='a')
        inner = context('filter:b', 'apps:marked_app', 'filter', 'paste.filter_app_factory', mark='b')
        inmost = context('app:it', 'apps:echo', colour='red')
        with Host([{'contexts': [outer, inner, inmost]}]) as host:
            told = self.seen(host)
            self.assertEqual(told['marks'], ['a', 'b'])
            self.assertEqual(told['local'], {'colour': 'red'})
            self.assertEqual(told['global']['__file__'], os.path.join(host.dir, 'api-paste.ini'))

    def test_a_composite_asks_the_paste_file_for_its_apps_as_it_was_frozen(self):
        text = '''
            [composite:all]
            paste.composite_factory = apps:composite
            /one = one
            [app:one]
            paste.app_factory = apps:echo
            here_is = %(here)s
        '''
        all_of_it = context('composite:all', 'apps:composite', protocol='paste.composite_factory', **{'/one': 'one'})
        with front.tempfile.TemporaryDirectory() as dir:
            copy, real = os.path.join(dir, 'copy.ini'), os.path.join(dir, 'real.ini')
            with open(copy, 'w') as file:
                file.write(front.textwrap.dedent(text))
            with open(real, 'w') as file:
                file.write('no longer what it was')
            all_of_it['file'] = all_of_it['loader'] = real
            with Host([{'contexts': [all_of_it]}], frozen={real: copy}) as host:
                self.assertEqual(self.seen(host, path='/one')['local'], {'here_is': dir})

    def test_objects_by_call_are_called_with_the_section_s_options(self):
        made = context('app:it', 'call:apps:echo', protocol='paste.app_factory', colour='red')
        with Host([{'contexts': [made]}]) as host:
            self.assertEqual(self.seen(host)['local'], {'colour': 'red'})

    def test_the_generation_s_files_are_read_whatever_becomes_of_the_operator_s(self):
        with front.tempfile.TemporaryDirectory() as dir:
            real, copies = os.path.join(dir, 'etc'), os.path.join(dir, 'copies')
            for root, text in [(real, 'new'), (copies, 'old')]:
                os.makedirs(os.path.join(root, 'policy.d'))
                for name in ('policy.yaml', 'policy.d/a.yaml'):
                    with open(os.path.join(root, name), 'w') as file:
                        file.write(text)
            path = os.path.join(real, 'policy.yaml')
            frozen = {os.path.join(real, name): os.path.join(copies, name)
                      for name in ('policy.yaml', 'policy.d', 'policy.d/a.yaml')}
            frozen[path + '.absent'] = None
            old = {'text': 'old', 'exists': True, 'names': ['a.yaml'], 'walked': [['a.yaml']], 'access': True,
                   'absent': False, 'parts': ['old'], 'stranger': 'nothing'}
            with Host([app('apps:reader', path=path)], frozen=frozen) as host:
                self.assertEqual(self.seen(host), old)
                os.remove(path)
                os.remove(os.path.join(real, 'policy.d/a.yaml'))
                for name in ('policy.yaml.absent', 'policy.d/b.yaml'):
                    with open(os.path.join(real, name), 'w') as file:
                        file.write('newer')
                self.assertEqual(json.loads(host.link().ask().body), dict(old, stranger='newer'))

    ENFORCER = '''
        class Enforcer:
            def __init__(self, **names):
                self.conf = type('Conf', (), {'project': names['project']})()
                self.conf.oslo_policy = type('Group', (), {'policy_dirs': [names['dirs']]})()
                self.policy_file, self.rules, self.registered_rules, self.loads = names['file'], {}, {}, []
                self._need_check_rule = True
            def load_rules(self, force_reload=False):
                self.loads.append(force_reload)
                self._need_check_rule = False
    '''

    def test_policies_are_loaded_once_where_all_of_their_files_are_frozen(self):
        files = {'oslo_policy/__init__.py': '', 'oslo_policy/policy.py': self.ENFORCER}
        every, whole = [False, False, True, False, False, False], {'/etc/x/policy.yaml': None, '/etc/x/policy.d': None}
        for project, frozen, loads in [('nova', whole, [False, True, False, False, False]), ('glance', whole, every),
                                       ('nova', {'/etc/x/policy.yaml': None}, every)]:
            with Host([app('apps:policies', project=project)], files=files, frozen=frozen) as host:
                self.assertEqual(self.seen(host), loads)

    VALIDATORS = '''
        def extend(validator, validators=(), version=None):
            return type('Made', (validator,), {**dict(validators), 'version': version})
    '''
    SCHEMA_VALIDATOR = '''
        import jsonschema.validators
        def soft(*args):
            return 'soft'
        class _SchemaValidator:
            def __init__(self, relax=False):
                validators = {'minimum': self.minimum}
                if relax:
                    validators['additionalProperties'] = soft
                self.made = jsonschema.validators.extend(object, validators)
            def minimum(self, value):
                return value
    '''

    def test_the_classes_of_schemas_are_made_once_for_services_that_are_known(self):
        files = {'jsonschema/__init__.py': '', 'jsonschema/validators.py': self.VALIDATORS}
        for service, classes in [('nova', 2), ('cinder', 2), ('another', 6)]:
            parts = [service, 'api', 'validation']
            packages = {'/'.join(parts[:n]) + '/__init__.py': '' for n in (1, 2, 3)}
            validators = {'/'.join(parts) + '/validators.py': self.SCHEMA_VALIDATOR}
            with Host([app('apps:schemas', service=service)], files={**files, **packages, **validators}) as host:
                self.assertEqual(self.seen(host), {'classes': classes, 'minimum': 7, 'soft': 'soft', 'others': 6})

    SERVICE = '''
        import sys
        from paste import deploy
        assert sys.argv == ['my-service'], sys.argv
        inner = deploy.loadapp('config:/etc/x/api-paste.ini', name='main')
    '''

    def test_a_service_s_own_entry_gets_the_mounts_where_it_asks_paste(self):
        entry = self.SERVICE + '''
        def application(environ, start_response):
            environ['through'] = 'the entry'
            return inner(environ, start_response)
        def make():
            return application
        plain = inner
        '''
        mounts = [app('apps:echo', n='0'), app('apps:echo', n='1')]
        for spec, through in [('service:application', 'the entry'), ('service:make()', 'the entry'), ('service:plain', None)]:
            with Host(mounts, files={'service.py': entry}, worker_app=spec, program='my-service') as host:
                for mount in (1, 0):
                    told = self.seen(host, mount) if mount else json.loads(host.link().ask(mount=mount).body)
                    self.assertEqual(told['local'], {'n': str(mount)})
                    self.assertEqual(told.get('through'), through)

    def test_an_entry_that_asks_paste_for_nothing_is_the_app_itself(self):
        entry = '''
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'by itself']
        '''
        # There is no such factory: the section is never built.
        with Host([app('apps:broken')], files={'service.py': entry}, worker_app='service:application') as host:
            self.assertEqual(host.link().ask().body, b'by itself')

    def test_a_manager_s_hooks_are_called_in_the_launcher_s_order(self):
        with Host([app('apps:calls')], manager='apps.Manager') as host:
            self.assertEqual(self.seen(host), ['made', 'init_host', 'pre_start_hook', 'loaded', 'post_start_hook'])

    def test_logging_sections_configure_logging(self):
        text = '''
            [loggers]
            keys = root
            [handlers]
            keys = file
            [formatters]
            keys =
            [logger_root]
            level = INFO
            handlers = file
            [handler_file]
            class = FileHandler
            args = (%(here)r + '/out.log',)
        '''
        with front.tempfile.TemporaryDirectory() as dir:
            path = os.path.join(dir, 'dev.ini')
            with open(path, 'w') as file:
                file.write(front.textwrap.dedent(text).replace('%(here)r', "'%(here)s'"))
            with Host([app('apps:trivial')], file_logging=True, paste_file=path) as host:
                host.ready()
                self.assertTrue(os.path.exists(os.path.join(dir, 'out.log')))

    def refused(self, mounts, *parts, **kwargs):
        with Host(mounts, **kwargs) as host:
            self.assertEqual(host.ended(), 78, host.stderr())
            said = host.stderr()
            for part in parts:
                self.assertIn(part, said)
            self.assertNotIn('Traceback', said)
            self.assertNotIn('host.py', said)
            self.assertNotIn('importlib', said)
            self.assertLess(len(said.splitlines()), 12)
            return said

    def test_what_cannot_be_built_is_told_in_one_report(self):
        def bad(factory, **kwargs):
            told = context('filter:bad', factory, 'filter', 'paste.filter_factory', line=31, **kwargs)
            return [{'contexts': [told, context('app:it', 'apps:echo')]}]

        self.refused(bad('nowhere.to:be_found'), 'api-paste.ini:31: [filter:bad] (nowhere.to:be_found) cannot be built',
                     "No module named 'nowhere'")
        self.refused(bad('apps:nothing'), 'api-paste.ini:31', "has no attribute 'nothing'")
        self.refused(bad('apps:broken'), 'RuntimeError: no database', 'apps.py', 'in broken')
        self.refused(bad('wrong'), 'SyntaxError', files={'wrong.py': 'def :\n'})
        self.refused(bad('apps:marked', unknown='x'), 'TypeError', 'unknown')

    def test_an_entry_that_cannot_be_used_is_told_in_one_report(self):
        for text, parts in [
            ('import nowhere', ("worker_app service:application cannot be started", "No module named 'nowhere'")),
            ('application = 5', ('no WSGI callable',)),
            ('import json\napplication = json.loads("{")', ('service.py:2: in <module>', 'JSONDecodeError')),
            ('''
             from paste import deploy
             try:
                 deploy.loadapp('config:/x.ini', 'other')
             except OSError:
                 pass
             def application(e, s): pass
             ''', ('never asked Paste for `main`',)),
            ('import sys; sys.exit(2)', ('SystemExit: 2',)),
            ('''
             from paste import deploy
             try:
                 application = deploy.loadapp('config:/x.ini', 'main')
             except Exception as error:
                 raise RuntimeError('could not load') from error
             ''', ('[app:it] (apps:broken) cannot be built', 'no database')),
        ]:
            self.refused([app('apps:broken')], *parts, files={'service.py': text}, worker_app='service:application')
        # It can be the one app or the other.
        self.refused([app('apps:echo'), app('apps:echo')], 'never asked Paste for `main`',
                     files={'service.py': 'def application(e, s): pass'}, worker_app='service:application')


if __name__ == '__main__':
    unittest.main()
