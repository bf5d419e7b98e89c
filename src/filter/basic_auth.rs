//! `basic_auth`: a name and a password, held against a file in the format of htpasswd (oslo.middleware's
//! `BasicAuthMiddleware`, Wallaby and later).
//!
//! The file is checked at the start and read for every request, so that a change of it counts at once. Only bcrypt is
//! known, which is slow on purpose: reading and comparing run on the control runtime's threads for blocking work, few at
//! once, and a password that was right is remembered (as a keyed hash of name, password and the file's entry) while the
//! entry stays as it is. When too many wait, further ones get 503. Every refusal is 401, as in the original, also where
//! the request is wrong in itself.
//! Must not know who may do what.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, StatusCode};
use indexmap::IndexSet;
use tokio::sync::Semaphore;

use super::headers::joined;
use super::prelude::*;
use super::python::json_string;
use super::reply::reply;
use super::webob::{explanation, webob};

/// What it takes. The section's own options do not count: the original reads nova.conf alone.
static OPTIONS: &[OptionSpec] = &[OptionSpec {
    name: "http_basic_auth_user_file",
    group: "oslo_middleware",
    default: "/etc/htpasswd",
    help: "the users, a line each: NAME:BCRYPT; in nova.conf only",
}];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "basic_auth",
    about: "asks for a name and a password out of a file",
    eras: "Wallaby and later, where an operator adds it",
    aliases: &[
        "oslo_middleware:BasicAuthMiddleware.factory",
        "oslo_middleware.basic_auth:BasicAuthMiddleware.factory",
        "egg:oslo.middleware#basic_auth",
    ],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build,
};

const USER: HeaderName = HeaderName::from_static("x-user");
const USER_NAME: HeaderName = HeaderName::from_static("x-user-name");

/// Passwords that are compared at once; each takes a core for tens of milliseconds.
const AT_ONCE: usize = 2;
/// Requests that may wait for that.
const WAITING: usize = 256;
/// Right passwords that are remembered.
const REMEMBERED: usize = 1024;

fn build(build: &mut Build<'_>) -> Option<Box<dyn Filter>> {
    build.oslo_config();
    let setting = build.conf("oslo_middleware", "http_basic_auth_user_file");
    let path = setting.as_ref().map_or("/etc/htpasswd", |setting| &setting.value).to_owned();
    let wrong = match fs::read_to_string(&path) {
        Err(error) => {
            Some((format!("Problem reading auth user file: {path}: {error}"), "name a file that can be read"))
        }
        Ok(text) => {
            let entries = text.lines().map(str::trim).filter_map(|line| line.split_once(':'));
            let other = entries.into_iter().find(|(_, crypted)| !is_bcrypt(crypted));
            other.map(|(user, _)| (only_bcrypt(user), "make the entry with htpasswd -B"))
        }
    };
    if let Some((fact, help)) = wrong {
        build.error(setting.as_ref(), fact, help);
        return None;
    }
    // 32 bytes are within what a generator gives at once; without any, nothing is remembered.
    let key = hmac::Key::generate(hmac::HMAC_SHA256, &aws_lc_rs::rand::SystemRandom::new()).ok();
    let known = Mutex::default();
    let slow = Semaphore::new(AT_ONCE);
    let waiting = Semaphore::new(WAITING);
    Some(Box::new(BasicAuth { users: Arc::new(Users { path, key, known, slow, waiting }) }))
}

fn is_bcrypt(crypted: &str) -> bool {
    ["$2y$", "$2a$", "$2b$"].iter().any(|start| crypted.starts_with(start))
}

fn only_bcrypt(user: &str) -> String {
    format!("Only bcrypt digested passwords are supported for {user}")
}

struct BasicAuth {
    users: Arc<Users>,
}

struct Users {
    path: String,
    key: Option<hmac::Key>,
    /// Sums of what was right, the oldest first.
    known: Mutex<IndexSet<[u8; 32]>>,
    slow: Semaphore,
    waiting: Semaphore,
}

/// What a client says of itself.
struct Claim {
    user: String,
    password: Vec<u8>,
}

/// How a claim was judged.
enum Judged {
    /// It is right.
    Right(String),
    /// It is not, and this is said.
    Wrong(String),
    /// Nobody had the time.
    Busy,
}

impl Filter for BasicAuth {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        let claim = match claim(request) {
            Ok(claim) => claim,
            Err(why) => return Flow::Reply(refuse(request, &why)),
        };
        let users = Arc::clone(&self.users);
        let asked = cx.outside.ask(users.judge(claim));
        Flow::Wait(Box::pin(async move { Box::new(asked.await.unwrap_or(Judged::Busy)) as Answer }))
    }

    fn resume(&self, cx: &mut Context, request: &mut Request, answer: Answer) -> Flow {
        match answer.downcast::<Judged>().map(|judged| *judged) {
            Ok(Judged::Right(user)) => {
                let Ok(user) = HeaderValue::try_from(user) else {
                    return Flow::Reply(refuse(request, explanation(StatusCode::UNAUTHORIZED)));
                };
                let headers = request.headers_mut();
                headers.remove(AUTHORIZATION);
                headers.insert(USER, user.clone());
                headers.insert(USER_NAME, user);
                Flow::Next
            }
            Ok(Judged::Wrong(why)) => Flow::Reply(refuse(request, &why)),
            Ok(Judged::Busy) | Err(_) => {
                Flow::Reply(webob(cx.release, StatusCode::SERVICE_UNAVAILABLE, None, "", request))
            }
        }
    }
}

/// The header, taken apart.
fn claim(request: &Request) -> Result<Claim, String> {
    let text = joined(request.headers(), &AUTHORIZATION).ok_or_else(|| explanation(StatusCode::UNAUTHORIZED))?;
    let parts = text.trim().split_once(|c: char| c.is_whitespace());
    let (kind, token) = parts.ok_or("Could not parse Authorization header")?;
    if !kind.eq_ignore_ascii_case("basic") {
        return Err(format!("Unsupported authorization type \"{kind}\""));
    }
    decode(token.trim_start()).ok_or_else(|| "Could not decode authorization token".to_owned())
}

fn decode(token: &str) -> Option<Claim> {
    const LIKE_PYTHON: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
    let mut user = GeneralPurpose::new(&base64::alphabet::STANDARD, LIKE_PYTHON).decode(token).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon).split_off(1);
    Some(Claim { user: String::from_utf8(user).ok()?, password })
}

impl Users {
    async fn judge(self: Arc<Self>, claim: Claim) -> Judged {
        let Ok(_waiting) = self.waiting.try_acquire() else { return Judged::Busy };
        let (users, claim) = (Arc::clone(&self), Arc::new(claim));
        let looked_up = {
            let claim = Arc::clone(&claim);
            tokio::task::spawn_blocking(move || users.look_up(&claim)).await
        };
        let crypted = match looked_up {
            Ok(Ok(None)) => return Judged::Right(claim.user.clone()),
            Ok(Ok(Some(crypted))) => crypted,
            Ok(Err(why)) => return Judged::Wrong(why),
            Err(_) => return Judged::Busy,
        };
        let Ok(_slow) = self.slow.acquire().await else { return Judged::Busy };
        let users = Arc::clone(&self);
        tokio::task::spawn_blocking(move || users.compare(&claim, &crypted)).await.unwrap_or(Judged::Busy)
    }

    /// What the password must be compared with, if it is not known to be right. The first line of a user counts.
    fn look_up(&self, claim: &Claim) -> Result<Option<String>, String> {
        let text = fs::read_to_string(&self.path).map_err(|error| {
            tracing::error!(path = %self.path, %error, "problem reading auth file");
            "Problem reading auth file".to_owned()
        })?;
        let entries = text.lines().map(str::trim).filter_map(|line| line.split_once(':'));
        let Some((_, crypted)) = entries.into_iter().find(|(user, _)| *user == claim.user) else {
            return Err(explanation(StatusCode::UNAUTHORIZED).to_owned());
        };
        if !is_bcrypt(crypted) {
            return Err(only_bcrypt(&claim.user));
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = self.sum(claim, crypted).is_some_and(|sum| known.contains(&sum));
        Ok((!is_known).then(|| crypted.to_owned()))
    }

    /// The slow part. bcrypt reads 72 bytes of a password.
    fn compare(&self, claim: &Claim, crypted: &str) -> Judged {
        match bcrypt::verify(&claim.password, crypted) {
            Ok(true) => {
                if let Some(sum) = self.sum(claim, crypted) {
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    if known.len() >= REMEMBERED {
                        known.shift_remove_index(0);
                    }
                    known.insert(sum);
                }
                Judged::Right(claim.user.clone())
            }
            Ok(false) => Judged::Wrong(explanation(StatusCode::UNAUTHORIZED).to_owned()),
            Err(_) => Judged::Wrong("Invalid salt".to_owned()),
        }
    }

    fn sum(&self, claim: &Claim, crypted: &str) -> Option<[u8; 32]> {
        let mut sum = hmac::Context::with_key(self.key.as_ref()?);
        for part in [claim.user.as_bytes(), crypted.as_bytes(), &claim.password] {
            sum.update(&part.len().to_le_bytes());
            sum.update(part);
        }
        sum.sign().as_ref().try_into().ok()
    }
}

fn refuse(request: &Request, why: &str) -> Response {
    let body = format!("{{\"error\":{{\"message\":{},\"code\":401}}}}", json_string(why));
    reply(request, StatusCode::UNAUTHORIZED, "application/json", body)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::filter::Outside;
    use crate::filter::harness::{Case, build, text};
    use crate::metrics::Metrics;

    /// `pw`, by Python's bcrypt.
    const BOB: &str = "$2b$04$9yFyvkcv9azAl2ya544X/.8FkaycXlyyQwXqS3PM8ICkQZR.bZBYS";

    struct Bench {
        control: tokio::runtime::Handle,
        dir: tempfile::TempDir,
        _stop: tokio::sync::oneshot::Sender<()>,
    }

    impl Bench {
        fn new(users: &str) -> Self {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let control = runtime.handle().clone();
            // Ends when the bench goes.
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            std::thread::spawn(move || runtime.block_on(stopped));
            let bench = Self { control, dir: tempfile::tempdir().unwrap(), _stop: stop };
            bench.write(users);
            bench
        }

        fn path(&self) -> String {
            self.dir.path().join("htpasswd").to_str().unwrap().to_owned()
        }

        fn write(&self, users: &str) {
            fs::write(self.path(), users).unwrap();
        }

        fn filter(&self) -> Result<Box<dyn Filter>, String> {
            let conf = [("oslo_middleware", "http_basic_auth_user_file", &*self.path())];
            let (filter, _, findings) = build(&FACTORY, Release::NEWEST, &[], &conf);
            filter.ok_or_else(|| findings[0].message.clone())
        }

        /// `None` for one who gets through; else what is said, behind 401.
        fn ask(&self, filter: &dyn Filter, authorization: Option<&str>) -> Option<String> {
            let mut case = Case::new("GET", "/");
            case.cx.outside = Rc::new(Outside::new(self.control.clone(), Metrics::new()));
            if let Some(text) = authorization {
                case = case.header("authorization", text);
            }
            let Some(answer) = case.enter(filter) else {
                let headers = case.request.headers();
                assert_eq!((&headers[USER], &headers[USER_NAME]), (&"bob".parse().unwrap(), &"bob".parse().unwrap()));
                assert!(!headers.contains_key(AUTHORIZATION));
                return None;
            };
            assert_eq!(answer.status(), 401);
            assert_eq!(answer.headers()["content-type"], "application/json");
            let body: serde_json::Value = serde_json::from_str(&text(answer)).unwrap();
            Some(body["error"]["message"].as_str().unwrap().to_owned())
        }
    }

    fn basic(claim: &[u8]) -> String {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(claim))
    }

    #[test]
    fn who_knows_the_password_gets_through_and_is_named() {
        let bench = Bench::new(&format!("\nal:{BOB}x\nbob:{BOB}\n"));
        let filter = bench.filter().unwrap();
        for authorization in [basic(b"bob:pw"), "basic Ym9iOnB3".to_owned(), " BASIC \t Ym9iOnB3 ".to_owned()] {
            assert_eq!(bench.ask(&*filter, Some(&authorization)), None, "{authorization}");
        }
    }

    #[test]
    fn refusals_have_the_originals_words() {
        let bench = Bench::new(&format!("bob:{BOB}\nold:$2y$04$short\n"));
        let filter = bench.filter().unwrap();
        bench.write(&format!("bob:{BOB}\nold:$2y$04$short\nmd5:$apr1$x\n"));
        let unauthorized = explanation(StatusCode::UNAUTHORIZED);
        let undecoded = "Could not decode authorization token";
        for (authorization, said) in [
            (None, unauthorized),
            (Some(String::new()), "Could not parse Authorization header"),
            (Some("Basic".to_owned()), "Could not parse Authorization header"),
            (Some("Bearer x y".to_owned()), "Unsupported authorization type \"Bearer\""),
            (Some("Basic !!".to_owned()), undecoded),
            (Some("Basic Ym9i OnB3".to_owned()), undecoded),
            (Some("Basic Ym9iOnB3Cg".to_owned()), undecoded),
            (Some(basic(b"nocolon")), undecoded),
            (Some(basic(b"\xff:x")), undecoded),
            (Some(basic(b"bob:no")), unauthorized),
            (Some(basic(b"bo:pw")), unauthorized),
            (Some(basic(b"zed:pw")), unauthorized),
            (Some(basic(b"old:x")), "Invalid salt"),
            (Some(basic(b"md5:x")), "Only bcrypt digested passwords are supported for md5"),
        ] {
            assert_eq!(bench.ask(&*filter, authorization.as_deref()).as_deref(), Some(said), "{authorization:?}");
        }
        let mut twice = Case::new("GET", "/").header("authorization", &basic(b"bob:pw"));
        twice = twice.header("authorization", &basic(b"bob:pw"));
        assert!(text(twice.enter(&*filter).expect("a refusal")).contains(undecoded));
        fs::remove_file(bench.path()).unwrap();
        assert_eq!(bench.ask(&*filter, Some(&basic(b"bob:pw"))).as_deref(), Some("Problem reading auth file"));
    }

    #[test]
    fn the_recorded_bytes_are_ours() {
        let request = Case::new("GET", "/").request;
        assert_eq!(
            text(refuse(&request, "Unsupported authorization type \"Bearer\"")),
            r#"{"error":{"message":"Unsupported authorization type \"Bearer\"","code":401}}"#
        );
    }

    #[test]
    fn a_remembered_password_counts_only_while_the_entry_stays() {
        let bench = Bench::new(&format!("bob:{BOB}\n"));
        let filter = bench.filter().unwrap();
        let ask = || bench.ask(&*filter, Some(&basic(b"bob:pw")));
        assert_eq!((ask(), ask()), (None, None));
        bench.write("");
        assert!(ask().is_some());
        bench.write(&format!("bob:{BOB}x\n"));
        assert!(ask().is_some());
    }

    #[test]
    fn what_was_right_is_not_compared_again_and_the_memory_is_bounded() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"k");
        let (slow, waiting) = (Semaphore::new(1), Semaphore::new(1));
        let bench = Bench::new(&format!("bob:{BOB}\n"));
        let users = Users { path: bench.path(), key: Some(key), known: Mutex::default(), slow, waiting };
        let claim = |password: &[u8]| Claim { user: "bob".to_owned(), password: password.to_vec() };
        assert_eq!(users.look_up(&claim(b"pw")), Ok(Some(BOB.to_owned())));
        users.known.lock().unwrap().extend((0..REMEMBERED).map(|n| {
            let mut sum = [0; 32];
            sum[..8].copy_from_slice(&n.to_le_bytes());
            sum
        }));
        assert!(matches!(users.compare(&claim(b"pw"), BOB), Judged::Right(_)));
        assert_eq!(users.look_up(&claim(b"pw")), Ok(None));
        assert_eq!(users.look_up(&claim(b"pw2")), Ok(Some(BOB.to_owned())));
        assert_eq!(users.known.lock().unwrap().len(), REMEMBERED);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_an_error_at_the_start() {
        let bench = Bench::new("bob:{SHA}x\nno entry\n");
        assert_eq!(bench.filter().err().unwrap(), "Only bcrypt digested passwords are supported for bob");
        fs::remove_file(bench.path()).unwrap();
        assert!(bench.filter().err().unwrap().starts_with("Problem reading auth user file: "));
    }
}
