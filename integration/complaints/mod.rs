//! What users of other reloaders complain about most, each answered by a test of that name.
//!
//! | | complaint | of | test |
//! |---|---|---|---|
//! | 1 | a bad reload kills the service | gunicorn, sozu, unit, haproxy | [`reload`]`::a_bad_reload_does_not_kill_the_service` |
//! | 2 | was my edit taken? | traefik | [`reload`]`::whether_an_edit_was_taken_is_told` |
//! | 3 | no check, no dry run, no difference | traefik | [`reload`]`::there_are_a_check_a_dry_run_and_a_difference` |
//! | 4 | a reload forgets health | traefik, haproxy | [`serving`]`::a_reload_does_not_forget_health` |
//! | 5 | long-lived connections die for unrelated edits | caddy, envoy, nginx | [`serving`]`::long_lived_connections_do_not_die_for_unrelated_edits` |
//! | 5 | the same over any time, and upgraded ones | | [`serving`]`::long_lived_connections_outlast_every_drain_but_that_of_their_own_workers` |
//! | 6 | old generations pile up | haproxy, caddy | [`serving`]`::old_generations_do_not_pile_up` |
//! | 7 | no readiness gate in rolling restarts | granian, gunicorn, uwsgi | [`workers`]`::a_rolling_restart_waits_for_readiness` |
//! | 8 | crash loops handled badly in both directions | uwsgi, granian, haproxy, oslo | [`workers`]`::a_crash_loop_is_neither_fast_nor_final_nor_everybodys` |
//! | 9 | statistics vanish or lie at a reload | haproxy, envoy, caddy | [`serving`]`::statistics_neither_vanish_nor_lie_at_a_reload` |
//! | 10 | reload storms, watcher traps | praxis, traefik, envoy | [`reload`]`::the_watcher_is_neither_stormed_nor_trapped` |
//! | 11 | fields silently not reloadable, or half applied | praxis, traefik | [`reload`]`::no_field_is_silently_left_out_or_half_applied` |
//! | 12 | draining is graceful, but not gradual | envoy | [`serving`]`::draining_is_gradual` |
//! | 13 | certificates on disk are not noticed | traefik, pingora | [`tls`](crate::tls)`::a_renewed_certificate_on_disk_is_noticed_and_an_open_connection_goes_on` |
//! | 14 | no metrics of workers | gunicorn, unit, uwsgi | [`workers`]`::workers_have_metrics_of_their_own` |
//! | 15 | listeners and workers cannot come and go; nothing ends who hangs or grows | haproxy, pingora, unit | [`workers`]`::listeners_and_workers_come_and_go_and_who_hangs_or_grows_is_replaced` |

mod reload;
mod serving;
mod workers;
