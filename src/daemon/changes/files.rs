//! What was read beside the texts: files that options name, files of the service, and those of the configuration whose
//! bytes differ while all that they say is the same.
//!
//! Must not know what is in any of them.

use std::path::Path;

use super::{Effects, at};
use crate::command::{Change, Class};
use crate::compile::Plan;
use crate::config::{Difference, Look, options};
use crate::id::hex;
use crate::message::Place;

/// An option that names a file.
struct Namer {
    /// `[wsgi] ssl_cert_file`
    option: String,
    /// Where it does.
    place: Option<Place>,
    /// Whether nothing may be told of what is in the file.
    secret: bool,
}

/// The changes of files, after those of the texts.
pub(super) fn files(effects: &Effects<'_>, texts: &[Change]) -> Vec<Change> {
    let (old, new) = (effects.old, effects.new);
    let cwd = &new.config.conf.environment().cwd;
    let names = |changes: &[Change], wanted: &dyn Fn(&Path) -> bool| {
        changes.iter().filter_map(|change| change.file.as_ref()).any(|file| wanted(&cwd.join(file)))
    };
    let rolling = if effects.rolled.is_empty() { Class::Live } else { Class::Rolling };
    let mut found: Vec<Change> = interpreter(old, new).into_iter().collect();
    let anew = !found.is_empty();
    let mut strange = Vec::new();
    for differs in new.config.reading.differences(&old.config.reading) {
        let Difference { path, look, of_both, was, is } = &differs;
        let of_service = [old, new].iter().any(|plan| plan.config.service.files.contains(path));
        let shown = |sum: &Option<[u8; 32]>| {
            sum.as_ref().and_then(|sum| sum.get(..8)).map(|sum| format!("sha256 {}", hex(sum)))
        };
        if let Some(Namer { option, place, secret }) =
            namer(new, path).or_else(|| namer(old, path)).filter(|_| *of_both)
        {
            let shown = |sum| shown(sum).map(|sum| if secret { "***".to_owned() } else { sum });
            let class = if of_service { rolling } else { Class::Live };
            found.push(at(
                place.as_ref(),
                class,
                format!("{option}, the file {}", path.display()),
                shown(was),
                shown(is),
            ));
        } else if of_service && was != is {
            let what = "a file of the service".to_owned();
            found.push(at(Some(&Place::file(path)), rolling, what, shown(was), shown(is)));
        } else if *look == Look::Program {
            if !anew {
                strange.push((differs.clone(), "a program that is started"));
            }
        } else if *look == Look::Dir {
            let within = |file: &Path| file.parent() == Some(path);
            if !names(texts, &within) && !names(&found, &within) {
                strange.push((differs.clone(), "the names in a directory"));
            }
        } else if !names(texts, &|file| file == path) {
            let own = [old, new].iter().any(|plan| plan.config.files().contains(path));
            let what = if own { NOTHING } else { "a file that is looked for" };
            strange.push((differs.clone(), what));
        }
    }
    // What only one of them has looked for follows from another change, if there is any.
    let alone = texts.is_empty() && found.is_empty() && !strange.iter().any(|(differs, _)| differs.of_both);
    let told = strange.into_iter().filter(|(differs, _)| differs.of_both || alone);
    found.extend(
        told.map(|(differs, what)| at(Some(&Place::file(differs.path)), Class::Live, what.to_owned(), None, None)),
    );
    found
}

/// What differs in a file of the configuration where no text does.
const NOTHING: &str = "nothing that counts: comments, blanks, or what is set again elsewhere";

/// The workers' Python, where it is another one.
fn interpreter(old: &Plan, new: &Plan) -> Option<Change> {
    let of = |plan: &Plan| plan.config.interpreter.as_ref().map(|it| format!("{} (Python {})", it.target, it.python));
    let (was, is) = (of(old), of(new));
    (was != is).then(|| at(None, Class::Rolling, "the workers' Python".to_owned(), was, is))
}

/// The option by which a configuration came to read a file.
fn namer(plan: &Plan, path: &Path) -> Option<Namer> {
    let (conf, settings) = (&plan.config.conf, &plan.config.settings);
    let tls = settings.apis.iter().filter_map(|api| api.tls.as_ref()).flat_map(|tls| {
        let files = [Some(&tls.cert), Some(&tls.key), tls.ca.as_ref()];
        [&options::SSL_CERT_FILE, &options::SSL_KEY_FILE, &options::SSL_CA_FILE].into_iter().zip(files)
    });
    let token = &options::ADMIN_TOKEN_FILE;
    let mut of_front = tls.chain([(token, settings.pasteway.admin_token_file.as_ref())]);
    if let Some((opt, _)) = of_front.find(|(_, named)| named.is_some_and(|named| named == path)) {
        let (option, place) = (format!("[{}] {}", opt.group, opt.name), conf.place(opt.group, opt.name));
        return Some(Namer { option, place, secret: std::ptr::eq(opt, token) });
    }
    plan.apis.iter().flat_map(|api| api.tree.steps()).find_map(|step| {
        let taken = step.taken.iter().find(|taken| Path::new(&taken.setting.value) == path)?;
        let section = taken.group.as_ref().or(step.context.section.as_ref()).map_or("", String::as_str);
        Some(Namer { option: format!("[{section}] {}", taken.name), place: taken.setting.place.clone(), secret: false })
    })
}
