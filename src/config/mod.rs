//! From files to a [`Config`]: `Source` (text, digest) → `Document` (strings with line numbers) → `Config`
//! (every name is the thing that it names). One type per arrow, made only by that arrow; nothing here starts,
//! binds or changes anything.
//!
//! Must not know workers, filters or the proxy.

pub mod composite;
mod entries;
pub mod interpreter;
pub mod layout;
mod load;
pub mod options;
pub mod oslo;
pub mod paste;
mod served;
mod service;
mod setting;
pub mod settings;
mod source;
mod unreached;
pub mod watch;

pub use entries::Entries;
pub use load::{ApiConfig, Config, Failed, Invocation, Phase, load, load_again, load_from, load_thoroughly, read_conf};
pub use served::PasteService;
pub use service::ServiceFiles;
pub use setting::{ConfSource, Setting, Text, Via};
pub use source::{Difference, Frozen, Look, Reading, Source, Watched};
