//! Which factory names of Paste files stand for which native filters.

use super::Factory;

/// Every native filter and app, in the order in which they are shown.
pub static FACTORIES: &[&Factory] = &[];

/// The native filter that replaces a factory, by any of the spellings used since Havana.
pub fn find(factory: &str) -> Option<&'static Factory> {
    FACTORIES.iter().copied().find(|f| f.aliases.contains(&factory))
}
