//! `ec2keystoneauth`: has Keystone check the signature of an EC2 request (`nova.api.ec2:EC2KeystoneAuth`, Havana to
//! Liberty).
//!
//! The front asks Keystone and refuses what Keystone refuses; the other half, in the worker, makes the context. The
//! question may take [`TIME`], and no more than [`AT_ONCE`] are under way; beyond that it is as if Keystone were not
//! there. The original bounds neither. Must not know what the request wants.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{ACCESS_KEY, awaited_form, error, exception, hold_form, parameters};
use crate::filter::body::Whole;
use crate::filter::outside::NotServing;
use crate::filter::prelude::*;

/// How long Keystone may take.
const TIME: Duration = Duration::from_secs(60);
/// Questions at a time.
const AT_ONCE: usize = 64;
/// A longer answer is none.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

/// All in nova.conf.
static OPTIONS: &[OptionSpec] = &[];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "ec2keystoneauth",
    about: "has Keystone check the signature of EC2 requests (keystone_ec2_url, keystone_ec2_insecure)",
    eras: "Havana to Liberty",
    aliases: &["nova.api.ec2:EC2KeystoneAuth.factory"],
    side: Side::Both,
    makes: Makes::Filter,
    options: OPTIONS,
    build,
};

fn build(build: &mut Build<'_>) -> Option<Box<dyn Filter>> {
    let setting = build.conf("DEFAULT", "keystone_ec2_url");
    let url = setting.as_ref().map_or("http://localhost:5000/v2.0/ec2tokens", |setting| setting.value.trim());
    let Some(url) = reqwest::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https")) else {
        let text = format!("keystone_ec2_url: `{url}` is no address of Keystone");
        build.error(setting.as_ref(), text, "write http://HOST:5000/v2.0/ec2tokens");
        return None;
    };
    let insecure = build.conf("DEFAULT", "keystone_ec2_insecure");
    let insecure = build.flag(insecure, false);
    let keystone = Keystone { url, insecure, client: OnceLock::new(), turns: Semaphore::new(AT_ONCE) };
    Some(Box::new(KeystoneAuth(Arc::new(keystone))))
}

struct KeystoneAuth(Arc<Keystone>);

struct Keystone {
    url: reqwest::Url,
    insecure: bool,
    /// Made by the first question.
    client: OnceLock<reqwest::Client>,
    turns: Semaphore,
}

/// What Keystone says of a request.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Status and message of the error document.
    Bad(u16, String),
    /// It cannot be asked: the original raises.
    Silent,
}

impl Filter for KeystoneAuth {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        match awaited_form(request) {
            Some(form) => Flow::Wait(form),
            None => self.ask(cx, request),
        }
    }

    fn resume(&self, cx: &mut Context, request: &mut Request, answer: Answer) -> Flow {
        let answer = match answer.downcast::<Whole>() {
            Ok(form) => {
                return match hold_form(cx, request, *form) {
                    Ok(()) => self.ask(cx, request),
                    Err(response) => Flow::Reply(response),
                };
            }
            Err(answer) => answer,
        };
        match answer.downcast::<Result<Verdict, NotServing>>().map(|verdict| *verdict) {
            Ok(Ok(Verdict::Good)) => Flow::Next,
            Ok(Ok(Verdict::Bad(status, message))) => Flow::Reply(failure(request, status, &message)),
            Ok(Ok(Verdict::Silent) | Err(NotServing)) | Err(_) => Flow::Reply(exception(cx, request)),
        }
    }
}

impl KeystoneAuth {
    fn ask(&self, cx: &Context, request: &Request) -> Flow {
        let mut parameters = parameters(request);
        let Some(signature) = parameters.iter().position(|(name, _)| name == "Signature") else {
            return Flow::Reply(failure(request, 400, "Signature not provided"));
        };
        let (_, signature) = parameters.remove(signature);
        let Some((_, access)) = parameters.iter().find(|(name, _)| name == ACCESS_KEY) else {
            return Flow::Reply(failure(request, 400, "Access key not provided"));
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let credentials = json!({
            "access": access,
            "host": request.headers().get(header::HOST).map(|host| text(host.as_bytes())),
            "verb": request.method().as_str(),
            "params": Value::Object(parameters.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect()),
            "signature": signature,
            "path": text(&cx.script_name) + &text(&cx.path_info),
        });
        let keystone = Arc::clone(&self.0);
        let verdict = cx.outside.ask(async move { keystone.verdict(credentials).await });
        Flow::Wait(Box::pin(async move { Box::new(verdict.await) as Answer }))
    }
}

impl Keystone {
    async fn verdict(&self, credentials: Value) -> Verdict {
        let Ok(_turn) = self.turns.try_acquire() else {
            tracing::warn!(target: "nova.api.ec2", "Keystone has {AT_ONCE} signatures to check already");
            return Verdict::Silent;
        };
        match self.post(credentials).await {
            Ok(verdict) => verdict,
            Err(error) => {
                // Its address has no secret in it; the signature is in the body.
                tracing::error!(target: "nova.api.ec2", "FaultWrapper: Keystone cannot be asked: {error}");
                Verdict::Silent
            }
        }
    }

    async fn post(&self, credentials: Value) -> Result<Verdict, reqwest::Error> {
        let client = match self.client.get() {
            Some(client) => client,
            None => {
                let client = reqwest::Client::builder()
                    .timeout(TIME)
                    .no_proxy()
                    .redirect(reqwest::redirect::Policy::none())
                    .danger_accept_invalid_certs(self.insecure)
                    .build()?;
                self.client.get_or_init(|| client)
            }
        };
        // Keystone's v2.0 has two ways in; the older one has `ec2` in its address.
        let body = match self.url.as_str().contains("ec2") {
            true => json!({ "ec2Credentials": credentials }),
            false => json!({ "auth": { "OS-KSEC2:ec2Credentials": credentials } }),
        };
        let mut answer = client.post(self.url.clone()).json(&body).send().await?;
        let status = answer.status();
        if status != StatusCode::OK {
            let message = match status {
                StatusCode::UNAUTHORIZED => "Unauthorized",
                _ => "Failure communicating with keystone",
            };
            return Ok(Verdict::Bad(status.as_u16(), message.to_owned()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_ANSWER {
                break;
            }
        }
        Ok(judge(&body))
    }
}

/// Whether an answer has what the context is made of.
fn judge(body: &[u8]) -> Verdict {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let needed = [
        "/access/token/id",
        "/access/token/tenant/id",
        "/access/token/tenant/name",
        "/access/user/id",
        "/access/user/name",
        "/access/user/roles",
        "/access/serviceCatalog",
    ];
    if needed.iter().all(|pointer| answer.pointer(pointer).is_some()) {
        Verdict::Good
    } else {
        Verdict::Bad(400, "Failure communicating with keystone".to_owned())
    }
}

fn failure(request: &Request, status: u16, message: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    error(request, status, "AuthFailure", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, build as built_with, built, text};

    fn said(target: &str) -> (u16, String) {
        let filter = built(&FACTORY, Release::HAVANA, &[], &[]);
        let response = Case::new("GET", target).release(Release::HAVANA).enter(&*filter).expect("refused");
        (response.status().as_u16(), text(response))
    }

    #[test]
    fn what_lacks_a_signature_or_a_key_is_refused_without_a_question() {
        let (status, body) = said("/?AWSAccessKeyId=AK");
        assert_eq!((status, body.contains("<Code>AuthFailure</Code><Message>Signature not provided")), (400, true));
        let (status, body) = said("/?Signature=x");
        assert_eq!((status, body.contains("<Message>Access key not provided</Message>")), (400, true));
    }

    #[test]
    fn where_keystone_cannot_be_asked_it_is_an_exception() {
        assert_eq!(said("/?Signature=x&AWSAccessKeyId=AK").0, 500);
    }

    #[test]
    fn only_an_answer_with_all_that_the_context_needs_is_good() {
        let good = json!({ "access": {
            "token": { "id": "t", "tenant": { "id": "p", "name": "n" } },
            "user": { "id": "u", "name": "n", "roles": [] }, "serviceCatalog": [],
        }});
        assert_eq!(judge(good.to_string().as_bytes()), Verdict::Good);
        for bad in ["", "{}", "[1]", &good.to_string().replace("serviceCatalog", "x")] {
            assert!(matches!(judge(bad.as_bytes()), Verdict::Bad(400, _)), "{bad}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_an_error_at_the_start() {
        for url in ["", "keystone", "ftp://k/ec2tokens"] {
            let (filter, _, found) =
                built_with(&FACTORY, Release::HAVANA, &[], &[("DEFAULT", "keystone_ec2_url", url)]);
            assert!(filter.is_none() && found.iter().any(|d| d.is_error()), "{url}");
        }
    }
}
