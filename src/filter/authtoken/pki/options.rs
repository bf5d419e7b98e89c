//! The options for signed tokens.
//!
//! Must not know how tokens are verified.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::fs::{Access, access, stat};
use rustix::io::Errno;

use super::Pki;
use super::form::Hash;
use super::store::Store;
use crate::filter::Build;
use crate::filter::authtoken::era::Era;
use crate::filter::authtoken::options;
use crate::filter::authtoken::shared::Shared;
use crate::message::Diagnostic;

/// Takes them; what an era does not know is taken and has no effect. `None` after an error.
pub fn take(build: &mut Build<'_>, era: Era) -> Option<Pki> {
    let errors = build.diagnostics.iter().filter(|found| found.is_error()).count();
    let life = options::take(build, "revocation_cache_time");
    let default = match era {
        era if era < Era::CLIENT_0_8 => 1,
        era if era < Era::CLIENT_0_9 => 300,
        _ => 10,
    };
    let life: i64 = build.integer(life, default);
    let checks = options::take(build, "check_revocations_for_cached");
    let checks = build.flag(checks, false) && (Era::CLIENT_0_9..Era::KSM_6_0).contains(&era);
    let pki = Pki {
        era,
        hashes: hashes(build, era),
        life: Duration::from_secs(u64::try_from(life).unwrap_or_default()),
        check_cached: checks,
        store: Store::new(signing_dir(build, era), era),
        signing: Shared::new(None),
        authorities: Shared::new(None),
        revoked: Shared::new(None),
        looked: AtomicBool::new(false),
    };
    let found = build.diagnostics.iter().filter(|found| found.is_error()).count();
    (found == errors).then_some(pki)
}

fn hashes(build: &mut Build<'_>, era: Era) -> Vec<Hash> {
    let option = options::take(build, "hash_algorithms");
    let place = option.as_ref().and_then(|option| option.place.clone()).unwrap_or_else(|| build.place.clone());
    let names = build.list(option, &["md5"]);
    if !(Era::CLIENT_0_9..Era::KSM_7_0).contains(&era) {
        return vec![Hash::Md5];
    }
    let mut known = Vec::new();
    for name in names {
        match Hash::named(&name) {
            Some(hash) => known.push(hash),
            None => {
                let text = format!("`hash_algorithms`: there is no hash `{name}`");
                let found = Diagnostic::error(place.clone(), text).help("md5, sha1, sha224, sha256, sha384 and sha512");
                build.diagnostics.push(found);
            }
        }
    }
    known
}

/// The directory. One that is not there is made when something is to be kept in it.
fn signing_dir(build: &mut Build<'_>, era: Era) -> Option<PathBuf> {
    let option = options::take(build, "signing_dir").filter(|option| !option.value.is_empty())?;
    if era >= Era::KSM_7_0 {
        return None;
    }
    let path = PathBuf::from(&option.value);
    if matches!(access(&path, Access::WRITE_OK), Err(Errno::ACCESS | Errno::ROFS)) {
        let text = format!("unable to access signing_dir {}", path.display());
        build.error(Some(&option), text, "it must be writable for the user of the front");
    }
    if let Ok(mode) = stat(&path).map(|stat| stat.st_mode & 0o777)
        && mode & 0o022 != 0
    {
        let place = option.place.clone().unwrap_or_else(|| build.place.clone());
        let text = format!("others may write to signing_dir (its mode is {mode:03o}), and so make tokens");
        build.diagnostics.push(Diagnostic::warning(place, text).help("give it the mode 700"));
    }
    Some(path)
}
