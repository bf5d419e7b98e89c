//! A parsed Paste file: raw options by section, each with the line and column of its key, its value and its words.
//!
//! Must not know the grammar that it was read by.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use indexmap::IndexMap;
use smallvec::SmallVec;

use super::Dialect;
use super::section::Index;
use crate::config::{Setting, Text, Via};
use crate::message::Place;

/// A Paste file, parsed.
#[derive(Debug)]
pub struct Document {
    /// The file, as it was named.
    pub path: PathBuf,
    /// Whose grammar it was read by.
    pub dialect: Dialect,
    /// In the order of their first header, without `[DEFAULT]`.
    pub sections: IndexMap<String, Section>,
    /// The options of `[DEFAULT]`.
    pub defaults: IndexMap<String, Entry>,
    pub(super) index: Index,
    /// By the line on which the value begins: the section's number (`None` for `[DEFAULT]`) and the option's.
    pub(super) lines: OnceLock<HashMap<u32, (Option<usize>, usize)>>,
}

/// The options under one header.
#[derive(Debug)]
pub struct Section {
    /// The text between the brackets, verbatim.
    pub name: String,
    /// The header's line, from 1.
    pub line: u32,
    /// Raw values by key, in the order of their first appearance.
    pub entries: IndexMap<String, Entry>,
}

/// One option, not interpolated.
#[derive(Debug)]
pub struct Entry {
    /// The lines of the value, joined by `\n`.
    pub value: String,
    /// Where the key begins: line and column, from 1.
    pub key: (u32, u32),
    pub(super) pieces: SmallVec<[Piece; 1]>,
}

/// One line's share of a value.
#[derive(Debug)]
pub(super) struct Piece {
    pub line: u32,
    pub column: u32,
    /// Where its text begins in the joined value, in bytes.
    pub start: usize,
}

impl Document {
    /// A place in this file.
    pub(super) fn place(&self, (line, column): (u32, u32)) -> Place {
        Place { file: self.path.clone(), line, column }
    }

    /// Every text of the file, not interpolated.
    pub fn texts(&self) -> impl Iterator<Item = Text> {
        let sections = self.sections.values().map(|section| (section.name.as_str(), &section.entries));
        let all = [("DEFAULT", &self.defaults)].into_iter().chain(sections);
        all.flat_map(move |(section, entries)| entries.iter().map(move |(name, entry)| (section, name, entry))).map(
            |(section, name, entry)| Text {
                section: section.to_owned(),
                name: name.clone(),
                setting: Setting { value: entry.value.clone(), place: Some(self.place(entry.key)), via: Via::Local },
            },
        )
    }

    /// The option whose value begins on that line.
    pub fn entry_at(&self, line: u32) -> Option<&Entry> {
        let lines = self.lines.get_or_init(|| {
            let sections = self.sections.values().enumerate().map(|(n, section)| (Some(n), &section.entries));
            let all = sections.chain([(None, &self.defaults)]);
            all.flat_map(|(s, entries)| entries.values().enumerate().map(move |(n, e)| (e.at().0, (s, n)))).collect()
        });
        let (section, n) = lines.get(&line)?;
        let entries = match section {
            Some(section) => &self.sections.get_index(*section)?.1.entries,
            None => &self.defaults,
        };
        entries.get_index(*n).map(|(_, entry)| entry)
    }

    /// The words of a value that came from this file, each with the place where it is written; a word that came
    /// by interpolation has the place of the value.
    pub(super) fn words<'s>(&self, setting: &'s Setting) -> Vec<(&'s str, Place)> {
        let place = setting.place.clone().unwrap_or_else(|| Place::file(&self.path));
        let entry = setting.place.as_ref().and_then(|place| self.entry_at(place.line));
        let written = entry.map(|entry| entry.words(self.dialect)).unwrap_or_default();
        let same = entry.is_some_and(|entry| entry.value == setting.value);
        let by_word: HashMap<&str, (u32, u32)> = written.iter().rev().copied().collect();
        let place_of = |n: usize, word: &str| {
            let at = if same { written.get(n).map(|(_, at)| at) } else { by_word.get(word) };
            at.map_or_else(|| place.clone(), |at| self.place(*at))
        };
        self.dialect.words(&setting.value).enumerate().map(|(n, word)| (word, place_of(n, word))).collect()
    }
}

impl Entry {
    /// Where the value begins: line and column, from 1.
    pub fn at(&self) -> (u32, u32) {
        self.pieces.first().map_or(self.key, |piece| (piece.line, piece.column))
    }

    /// Where `text` first stands in the value; where the value begins, if it does not stand there as it is.
    pub fn locate(&self, text: &str) -> (u32, u32) {
        self.value.find(text).map_or_else(|| self.at(), |at| self.position(at))
    }

    /// The words of the value as it is written, each with its line and column.
    pub fn words(&self, dialect: Dialect) -> Vec<(&str, (u32, u32))> {
        let mut pieces = self.pieces.iter().peekable();
        let ((mut line, mut column), mut start) = (self.at(), 0);
        let mut words = Vec::new();
        for word in dialect.words(&self.value) {
            let at = offset(&self.value, word);
            while let Some(piece) = pieces.next_if(|piece| piece.start <= at) {
                (line, column, start) = (piece.line, piece.column, piece.start);
            }
            let gap = self.value.get(start..at).map_or(0, |text| text.chars().count());
            (column, start) = (column.saturating_add(count(gap)), at);
            words.push((word, (line, column)));
        }
        words
    }

    /// The line and column of a byte of the joined value.
    fn position(&self, at: usize) -> (u32, u32) {
        let Some(piece) = self.pieces.iter().rev().find(|piece| piece.start <= at) else { return self.at() };
        let before = self.value.get(piece.start..at).map_or(0, |text| text.chars().count());
        (piece.line, piece.column.saturating_add(count(before)))
    }
}

/// The column (from 1, in characters) at which `part`, a slice of `line`, begins.
pub(super) fn column(line: &str, part: &str) -> u32 {
    line.get(..offset(line, part)).map_or(1, |before| count(before.chars().count() + 1))
}

/// Where `part`, a slice of `whole`, begins in it, in bytes.
fn offset(whole: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
