//! Options of logging: Nova's own (`nova/openstack/common/log.py`, to Juno) and oslo.log's after it.
//!
//! Must not know how a line is written.

use super::{Kind, Opt, options};
use crate::command::Class::Live;
use crate::release::Release;

const FIRST: Release = Release::HAVANA;

const fn default(name: &'static str, kind: Kind) -> Opt {
    Opt::new("DEFAULT", name, kind, Live)
}

options! {
    /// Logs everything.
    DEBUG = default("debug", Kind::Bool).defaults(&[(FIRST, "false")]).cli();
    /// Logs INFO lines. Gone since Pike, where they always are.
    VERBOSE = default("verbose", Kind::Bool).defaults(&[(FIRST, "false"), (Release::LIBERTY, "true")]).gone(Release::PIKE).cli();
    /// A file in the format of Python's logging.config, which Python workers read.
    LOG_CONFIG_APPEND = default("log_config_append", Kind::Text).was(&[("DEFAULT", "log_config")], FIRST).cli();
    /// A Python format for all lines. Deprecated since before Havana.
    LOG_FORMAT = default("log_format", Kind::Text).cli();
    /// The format of times, as strftime has it.
    LOG_DATE_FORMAT = default("log_date_format", Kind::Text).defaults(&[(FIRST, "%Y-%m-%d %H:%M:%S")]).cli();
    /// The file to log to.
    LOG_FILE = default("log_file", Kind::Text).was(&[("DEFAULT", "logfile")], FIRST).cli();
    /// The directory of log_file; alone, the file is named after the program.
    LOG_DIR = default("log_dir", Kind::Text).was(&[("DEFAULT", "logdir")], FIRST).cli();
    /// Logs to syslog.
    USE_SYSLOG = default("use_syslog", Kind::Bool).defaults(&[(FIRST, "false")]).cli();
    /// Syslog's facility.
    SYSLOG_LOG_FACILITY = default("syslog_log_facility", Kind::Text).defaults(&[(FIRST, "LOG_USER")]).cli();
    /// Logs to standard error.
    USE_STDERR = default("use_stderr", Kind::Bool).defaults(&[(FIRST, "true"), (Release::OCATA, "false")]).cli();
    /// Logs to systemd's journal.
    USE_JOURNAL = default("use_journal", Kind::Bool).defaults(&[(FIRST, "false")]).cli();
    /// Logs JSON.
    USE_JSON = default("use_json", Kind::Bool).defaults(&[(FIRST, "false")]).cli();
    /// The format of lines that belong to a request.
    LOGGING_CONTEXT_FORMAT_STRING = default("logging_context_format_string", Kind::Text).defaults(&[
        (
            FIRST,
            "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s [%(request_id)s %(user)s %(tenant)s] \
             %(instance)s%(message)s",
        ),
        (
            Release::KILO,
            "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s [%(request_id)s %(user_identity)s] \
             %(instance)s%(message)s",
        ),
        (
            Release::PIKE,
            "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s [%(global_request_id)s %(request_id)s \
             %(user_identity)s] %(instance)s%(message)s",
        ),
    ]);
    /// The format of all other lines.
    LOGGING_DEFAULT_FORMAT_STRING = default("logging_default_format_string", Kind::Text).defaults(&[(
        FIRST,
        "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s [-] %(instance)s%(message)s",
    )]);
    /// What is appended to DEBUG lines.
    LOGGING_DEBUG_FORMAT_SUFFIX = default("logging_debug_format_suffix", Kind::Text)
        .defaults(&[(FIRST, "%(funcName)s %(pathname)s:%(lineno)d")]);
    /// What stands before each line of a traceback.
    LOGGING_EXCEPTION_PREFIX = default("logging_exception_prefix", Kind::Text).defaults(&[
        (FIRST, "%(asctime)s.%(msecs)03d %(process)d TRACE %(name)s %(instance)s"),
        (Release::LIBERTY, "%(asctime)s.%(msecs)03d %(process)d ERROR %(name)s %(instance)s"),
    ]);
    /// What `%(user_identity)s` is.
    LOGGING_USER_IDENTITY_FORMAT = default("logging_user_identity_format", Kind::Text).defaults(&[(
        Release::KILO,
        "%(user)s %(project)s %(domain)s %(system_scope)s %(user_domain)s %(project_domain)s",
    )]);
    /// Levels of single loggers.
    DEFAULT_LOG_LEVELS = default("default_log_levels", Kind::LIST).defaults(&[
        (FIRST, "amqplib=WARN,sqlalchemy=WARN,boto=WARN,suds=INFO,keystone=INFO,eventlet.wsgi.server=WARN"),
        (
            Release::KILO,
            "amqp=WARN,amqplib=WARN,boto=WARN,qpid=WARN,sqlalchemy=WARN,suds=INFO,oslo.messaging=INFO,\
             iso8601=WARN,requests.packages.urllib3.connectionpool=WARN,urllib3.connectionpool=WARN,websocket=WARN,\
             keystonemiddleware=WARN,routes.middleware=WARN,stevedore=WARN,keystoneauth=WARN,glanceclient=WARN,\
             oslo.privsep.daemon=INFO",
        ),
    ]);
    /// What stands in a line for an instance.
    INSTANCE_FORMAT = default("instance_format", Kind::Text).defaults(&[(FIRST, "[instance: %(uuid)s] ")]);
    /// The same where only its id is known.
    INSTANCE_UUID_FORMAT = default("instance_uuid_format", Kind::Text).defaults(&[(FIRST, "[instance: %(uuid)s] ")]);
    /// Sends errors as notifications.
    PUBLISH_ERRORS = default("publish_errors", Kind::Bool).defaults(&[(FIRST, "false")]);
    /// Makes the use of deprecated things an error.
    FATAL_DEPRECATIONS = default("fatal_deprecations", Kind::Bool).defaults(&[(FIRST, "false")]);
}
