//! The Nova releases whose defaults and answers Pasteway reproduces, in order of time.
//!
//! Must not know where a release number came from (an option, a paste file's layout, an interpreter).

use std::fmt;
use std::str::FromStr;

/// A Nova release, compared by age: `Release::HAVANA < Release::NEWTON`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release(u8);

/// Version as Nova numbered it, and the series' name, oldest first.
const SERIES: &[(&str, &str)] = &[
    ("2013.2", "havana"),
    ("2014.1", "icehouse"),
    ("2014.2", "juno"),
    ("2015.1", "kilo"),
    ("12", "liberty"),
    ("13", "mitaka"),
    ("14", "newton"),
    ("15", "ocata"),
    ("16", "pike"),
    ("17", "queens"),
    ("18", "rocky"),
    ("19", "stein"),
    ("20", "train"),
    ("21", "ussuri"),
    ("22", "victoria"),
    ("23", "wallaby"),
    ("24", "xena"),
    ("25", "yoga"),
    ("26", "zed"),
    ("27", "2023.1"),
    ("28", "2023.2"),
    ("29", "2024.1"),
    ("30", "2024.2"),
    ("31", "2025.1"),
    ("32", "2025.2"),
    ("33", "2026.1"),
    ("34", "2026.2"),
];

#[allow(missing_docs)]
impl Release {
    pub const HAVANA: Self = Self(0);
    pub const ICEHOUSE: Self = Self(1);
    pub const JUNO: Self = Self(2);
    pub const KILO: Self = Self(3);
    pub const LIBERTY: Self = Self(4);
    pub const MITAKA: Self = Self(5);
    pub const NEWTON: Self = Self(6);
    pub const OCATA: Self = Self(7);
    pub const PIKE: Self = Self(8);
    pub const QUEENS: Self = Self(9);
    pub const ROCKY: Self = Self(10);
    pub const STEIN: Self = Self(11);
    pub const TRAIN: Self = Self(12);
    pub const USSURI: Self = Self(13);
    pub const VICTORIA: Self = Self(14);
    pub const WALLABY: Self = Self(15);
    pub const XENA: Self = Self(16);
    pub const YOGA: Self = Self(17);
    pub const ZED: Self = Self(18);
    pub const NOVA_29: Self = Self(21);
    /// 2025.1: the last series with a `nova-api` program.
    pub const NOVA_31: Self = Self(23);
    /// 2025.2: the first series without launchers.
    pub const NOVA_32: Self = Self(24);
    pub const NOVA_33: Self = Self(25);
    pub const NEWEST: Self = Self(26);
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SERIES.get(usize::from(self.0)).map_or("?", |s| s.0))
    }
}

/// The text names no Nova release that Pasteway knows.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a Nova release (2013.2, 2014.1, 2014.2, 2015.1, 12 to 34, or a series' name)")]
pub struct UnknownRelease(String);

impl FromStr for Release {
    type Err = UnknownRelease;

    /// Takes a version (`2013.2`, `2013.2.4`, `31.0.0`, `31`) or a series' name (`havana`, `2025.1`).
    fn from_str(text: &str) -> Result<Self, UnknownRelease> {
        let wanted = text.trim().to_ascii_lowercase();
        let fits =
            |version: &str| wanted == version || wanted.strip_prefix(version).is_some_and(|rest| rest.starts_with('.'));
        SERIES
            .iter()
            .position(|(version, name)| fits(version) || wanted == *name)
            .and_then(|n| u8::try_from(n).ok())
            .map(Self)
            .ok_or_else(|| UnknownRelease(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_point_releases_and_names_are_the_same_thing() {
        for (text, want) in [
            ("2013.2", Release::HAVANA),
            ("2013.2.4", Release::HAVANA),
            ("havana", Release::HAVANA),
            ("31.0.0", Release::NOVA_31),
            ("2025.1", Release::NOVA_31),
            ("34", Release::NEWEST),
        ] {
            assert_eq!(text.parse::<Release>().ok(), Some(want), "{text}");
        }
        assert!("35".parse::<Release>().is_err());
        assert!(Release::HAVANA < Release::NEWTON);
    }
}
