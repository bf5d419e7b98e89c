//! Guesses from the shape of a Paste file which Nova release it was shipped with.
//!
//! Must not know what the release is wanted for.

use crate::config::paste::{Document, Section};
use crate::release::Release;

/// The release whose `api-paste.ini` this is, or comes nearest to; `None` when it is not Nova's.
///
/// Releases that shipped the same file cannot be told apart; of those it names the newest, since a file stays behind
/// its Nova more often than it runs ahead: Train for Queens to Train, Yoga for Ussuri to Yoga, 2025.1 for Zed to
/// 2025.1, and the newest for 2025.2 and later. What is older than Havana counts as Havana.
pub fn release_from_layout(document: &Document) -> Option<Release> {
    let factories: Vec<&str> = document.sections.values().filter_map(factory).collect();
    if !factories.iter().any(|path| path.starts_with("nova.")) {
        return None;
    }
    let has = |part: &str| factories.iter().any(|path| path.contains(part));
    let plus = document.sections.values().any(|section| section.entries.keys().any(|key| key.ends_with("/+")));
    // EC2 went with Mitaka; a filter that its operator added early does not make the file younger.
    let ec2 = has("nova.api.ec2");
    Some(if plus && !has("NoAuthMiddleware") {
        Release::NEWEST
    } else if plus && metadata_behind_proxy(document) {
        Release::NOVA_31
    } else if plus || has("versions:VersionsV2.") {
        Release::YOGA
    } else if has("nova.api.openstack.requestlog:") {
        if has("RequestId.factory") { Release::PIKE } else { Release::TRAIN }
    } else if has("nova.profiler:") {
        Release::OCATA
    } else if !ec2 && has("HTTPProxyToWSGI") {
        Release::NEWTON
    } else if !ec2 && has("oslo_middleware.cors:") {
        Release::MITAKA
    } else if has("LegacyV2CompatibleWrapper") {
        Release::LIBERTY
    } else if has("NoAuthMiddlewareOld") || has("oslo.middleware:") {
        Release::KILO
    } else if has("pipeline_factory_v21") || has("nova.api.compute_req_id:") {
        Release::JUNO
    } else if has("pipeline_factory_v3") {
        Release::ICEHOUSE
    } else {
        Release::HAVANA
    })
}

/// The import path of what a section makes, however it names it.
fn factory(section: &Section) -> Option<&str> {
    let is_factory = |key: &str| key.starts_with("paste.") && key.ends_with("_factory");
    section.entries.iter().find_map(|(key, entry)| match key.as_str() {
        "use" => entry.value.strip_prefix("call:"),
        key if is_factory(key) => Some(entry.value.as_str()),
        _ => None,
    })
}

/// Whether a pipeline that ends in the metadata app has the proxy filter, as from Zed on.
fn metadata_behind_proxy(document: &Document) -> bool {
    let made_by = |kind: &str, name: &str| {
        document.sections.get(&format!("{kind}:{name}")).and_then(factory).unwrap_or_default().to_owned()
    };
    document.sections.values().filter_map(|section| section.entries.get("pipeline")).any(|pipeline| {
        let names: Vec<&str> = pipeline.value.split_whitespace().collect();
        names.split_last().is_some_and(|(app, filters)| {
            made_by("app", app).starts_with("nova.api.metadata")
                && filters.iter().any(|filter| made_by("filter", filter).contains("HTTPProxyToWSGI"))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use proptest::prelude::*;

    use super::*;
    use crate::config::paste::{Dialect, corpus};

    fn guess(text: &[u8]) -> Option<Release> {
        release_from_layout(&Document::parse(Path::new("x.ini"), text, Dialect::Py2).ok()?)
    }

    /// The newest release that shipped the same file.
    fn shipped_until(release: Release) -> Release {
        [Release::TRAIN, Release::YOGA, Release::NOVA_31, Release::NEWEST]
            .into_iter()
            .zip([Release::QUEENS, Release::USSURI, Release::ZED, Release::NOVA_32])
            .find(|(last, first)| (*first..=*last).contains(&release))
            .map_or(release, |(last, _)| last)
    }

    #[test]
    fn every_release_of_nova_is_recognised_by_the_file_that_it_shipped() {
        let Some(corpus) = corpus() else { return };
        let mut seen = 0;
        for file in fs::read_dir(corpus.join("nova/releases")).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().trim_end_matches(".api-paste.ini").to_owned();
            let series = name.trim_start_matches("stable-").trim_start_matches("unmaintained-");
            let release = match series {
                "master" => Release::NEWEST,
                "zed" => Release::ZED,
                old if ["2011", "2012", "2013.1"].iter().any(|year| old.starts_with(year)) => Release::HAVANA,
                series => series.parse().unwrap(),
            };
            assert_eq!(guess(&fs::read(&path).unwrap()), Some(shipped_until(release)), "{name}");
            seen += 1;
        }
        assert!(seen > 40, "{seen}");
    }

    #[test]
    fn a_file_between_two_releases_falls_into_a_time_near_it() {
        let Some(corpus) = corpus() else { return };
        let mut files: Vec<PathBuf> =
            fs::read_dir(corpus.join("nova/history")).unwrap().map(|f| f.unwrap().path()).collect();
        files.sort();
        let eras: Vec<_> = files.iter().map(|path| guess(&fs::read(path).unwrap())).collect();
        assert!(eras.iter().all(Option::is_some));
        assert_eq!(eras.first(), Some(&Some(Release::HAVANA)));
        assert_eq!(eras.last(), Some(&Some(Release::NEWEST)));
    }

    #[test]
    fn what_is_not_novas_is_no_release() {
        let Some(corpus) = corpus() else { return };
        let mut dirs: Vec<PathBuf> = ["glance", "cinder", "keystone", "swift"].map(|name| corpus.join(name)).into();
        let mut seen = 0;
        while let Some(dir) = dirs.pop() {
            for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    assert_eq!(guess(&fs::read(&path).unwrap()), None, "{}", path.display());
                    seen += 1;
                }
            }
        }
        assert!(seen > 100, "{seen}");
    }

    #[test]
    fn ec2_beside_cors_is_still_liberty() {
        let text = "[filter:c]\npaste.filter_factory = oslo_middleware.cors:filter_factory\n\
                    [filter:e]\npaste.filter_factory = nova.api.ec2:FaultWrapper.factory\n\
                    [filter:l]\npaste.filter_factory = nova.api.openstack:LegacyV2CompatibleWrapper.factory\n";
        assert_eq!(guess(text.as_bytes()), Some(Release::LIBERTY));
    }

    proptest! {
        #[test]
        fn no_file_makes_it_fail(text in "(\\[app:[a-z]\\]\n|use = call:nova|/\\+ = x\n|[a-z=:%\n ]|\\PC){0,30}") {
            let _ = guess(text.as_bytes());
        }
    }
}
