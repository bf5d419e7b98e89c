//! Texts that were taken back: what was wrong with them stays out until it is mended, also beside other edits.
//!
//! A text is remembered by the files that differ from what it went back to. Must not know who takes it back or when.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;

use super::generation::Record;
use crate::config::Reading;
use crate::id::Generation;

/// So many are remembered.
const MOST: usize = 100;

/// What a file holds, by its SHA-256; `None` where it was not read.
type Content = Option<[u8; 32]>;

/// One of them.
pub struct Text {
    /// The generation that was made from it.
    pub number: Generation,
    /// Why it was taken back.
    pub why: String,
    /// Those of its files that were not so in what it went back to.
    pub files: Vec<(PathBuf, Content)>,
    digest: [u8; 32],
}

/// All that are remembered, the newest first.
#[derive(Default)]
pub struct TakenBack(VecDeque<Text>);

impl Text {
    fn is_in(&self, (digest, contents): &([u8; 32], HashMap<PathBuf, [u8; 32]>)) -> bool {
        let same = |(path, content): &(PathBuf, Content)| contents.get(path) == content.as_ref();
        (!self.files.is_empty() && self.files.iter().all(same)) || self.digest == *digest
    }
}

impl TakenBack {
    /// Remembers a text that was taken back for another one.
    pub fn remember(&mut self, left: &Record, back: &Record, why: &str) {
        self.add(left.number, &Reading::thaw(&left.frozen), &Reading::thaw(&back.frozen), why);
    }

    fn add(&mut self, number: Generation, left: &Reading, back: &Reading, why: &str) {
        let (was, is) = (contents(left), contents(back));
        let differs = |path: &&PathBuf| was.get(*path) != is.get(*path);
        let gone = is.keys().filter(|path| !was.contains_key(*path));
        let mut files: Vec<(PathBuf, Content)> =
            was.keys().chain(gone).filter(differs).map(|path| (path.clone(), was.get(path).copied())).collect();
        files.sort();
        self.0.push_front(Text { number, why: why.to_owned(), files, digest: left.digest() });
        self.0.truncate(MOST);
    }

    /// The newest whose files are all as they were in it, whatever the others hold.
    pub fn found_in(&self, reading: &Reading) -> Option<&Text> {
        let all = (reading.digest(), contents(reading));
        self.0.iter().find(|text| text.is_in(&all))
    }

    /// Somebody wants this text all the same.
    pub fn forgive(&mut self, wanted: &Record) {
        let all = (wanted.digest, contents(&Reading::thaw(&wanted.frozen)));
        self.0.retain(|text| !text.is_in(&all));
    }
}

fn contents(reading: &Reading) -> HashMap<PathBuf, [u8; 32]> {
    reading.sources().iter().map(|source| (source.path.clone(), source.digest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> Reading {
        Reading::of(files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())))
    }

    fn taken_back(left: &[(&str, &str)], back: &[(&str, &str)]) -> TakenBack {
        let mut taken_back = TakenBack::default();
        taken_back.add(Generation(2), &files(left), &files(back), "it failed");
        taken_back
    }

    #[test]
    fn a_text_comes_back_only_when_one_of_its_files_has_changed() {
        let taken_back = taken_back(&[("/a", "bad"), ("/b", "new"), ("/c", "same")], &[("/a", "good"), ("/c", "same")]);
        let found = |all: &[(&str, &str)]| taken_back.found_in(&files(all)).is_some();
        assert!(found(&[("/a", "bad"), ("/b", "new"), ("/c", "another")]));
        assert!(found(&[("/a", "bad"), ("/b", "new"), ("/stranger", "x")]));
        assert!(!found(&[("/a", "mended"), ("/b", "new"), ("/c", "same")]));
        assert!(!found(&[("/a", "bad"), ("/c", "same")]));
    }

    #[test]
    fn a_file_that_was_removed_is_part_of_a_text() {
        let taken_back = taken_back(&[("/c", "same")], &[("/a", "good"), ("/c", "same")]);
        assert!(taken_back.found_in(&files(&[("/c", "another")])).is_some());
        assert!(taken_back.found_in(&files(&[("/a", "mended"), ("/c", "same")])).is_none());
    }

    #[test]
    fn a_text_without_files_of_its_own_is_known_as_a_whole() {
        let mut left = files(&[("/a", "x")]);
        left.program(&PathBuf::from("/bin/python"), "3.13");
        let mut taken_back = TakenBack::default();
        taken_back.add(Generation(2), &left, &files(&[("/a", "x")]), "it failed");
        assert!(taken_back.found_in(&left).is_some());
        left = files(&[("/a", "x")]);
        assert!(taken_back.found_in(&left).is_none());
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut taken_back = TakenBack::default();
        for number in 0..=MOST {
            let text = number.to_string();
            taken_back.add(Generation(2), &files(&[("/a", &text)]), &files(&[]), "it failed");
        }
        assert_eq!(taken_back.0.len(), MOST);
        assert!(taken_back.found_in(&files(&[("/a", "0")])).is_none());
        assert!(taken_back.found_in(&files(&[("/a", "1")])).is_some());
    }
}
