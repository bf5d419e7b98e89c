//! `authtoken`: who sends a request, by the word of Keystone (`keystonemiddleware.auth_token`).
//!
//! Must not know what becomes of the request.

mod cache;
mod era;
mod identity;
mod keystone;
mod secret;
mod token;
