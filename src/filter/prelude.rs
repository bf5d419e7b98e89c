//! What every filter's file uses.

pub use super::build::{Build, OptionSpec};
pub use super::context::{Context, RemoteAddr, Scheme};
pub use super::{Answer, Body, Factory, Filter, Flow, Makes, Request, Response, Side};
pub use crate::release::Release;
