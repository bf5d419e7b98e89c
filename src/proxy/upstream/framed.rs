//! The protocol of the Python host, from the front's end: a [`packet`] out, [`frames`] back.
//!
//! ```text
//! packet: mount u16, flags u16, nones u16, pairs u16, script u32, text u32, extra u32, info u32, service u32
//!         text     keys whose value is None, then key and value in turn, each ended by NUL; SCRIPT_NAME, PATH_INFO
//!         extra    a JSON object of further values of the environ
//!         info     JSON of a validated token;  service: the same of a service token
//! body:   frames of a length u32 and bytes; a length of 0 ends it.     Only with flag 1
//! back:   frames of a kind u8, a length u32 and bytes: `H` head, `D` a piece of the body, `E` the end, `X` the app failed
//! ```
//!
//! Numbers are big-endian. The other end, and the fields in full, stand at the head of
//! [`host.py`](crate::worker::host). Python takes the packet apart with one `unpack` and one `split`, which is what makes
//! it cheap there; so `text` is bytes as a WSGI environ has them, without escapes.
//!
//! Must not know the tree that a request walked, or how connections are kept.

pub mod frames;
pub mod packet;
