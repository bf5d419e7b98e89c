//! What passes between a front and the one that is to take its place: messages of JSON on a socket pair, of which the
//! new one has its end as standard input.
//!
//! ```text
//! old                            new
//!  ◀── here ─────────────────────    it runs; who never says so is handed nothing, and holds nothing when it hangs
//!  ── Handover, lock, sockets ──▶
//!  ◀── ready, or failed ─────────    its workers serve, and it waits; or why not
//!  ── go ────────────────────────▶   the old one accepts nothing any more
//!  ── draining, … ───────────────▶   what the old one still serves, until it is gone
//! ```
//!
//! Fronts before the old one that still drain tell it to the new one from then on: their channels are handed over too.
//! The two may be of different versions: fields and words that one does not know mean nothing to it. Must not know what
//! either does with it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixDatagram;

use crate::command::PredecessorReport;

/// Tells a process that its standard input is the new end of a pair.
pub const ENV_UPGRADE: &str = "PASTEWAY_UPGRADE";
/// Descriptors that the kernel takes in one message (`SCM_MAX_FD`).
const MOST_DESCRIPTORS: usize = 253;
/// Bytes of a message: far more than that many addresses and a reason have.
const LONGEST: usize = 64 * 1024;

/// What the new front is given. The descriptors come with it: the lock of `runtime_dir`, the sockets, the channels to
/// predecessors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// Of the old front.
    pub version: String,
    /// Of the old front.
    pub pid: u32,
    /// The newest of its generations.
    pub generation: u64,
    /// The directory that both have.
    pub runtime_dir: PathBuf,
    /// What each socket was asked for as.
    pub sockets: Vec<Asked>,
    /// The fronts before the old one that still drain.
    #[serde(default)]
    pub predecessors: Vec<PredecessorReport>,
}

/// What a socket was asked for as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// An API's.
    Api {
        /// Host or address.
        host: String,
        /// 0: any.
        port: u16,
        /// Set for port 0 only.
        api: Option<String>,
    },
    /// An entry of `admin_listen`.
    Admin(String),
}

/// A word on the way, after the [`Handover`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub enum Word {
    /// The new front runs, and waits for the handover.
    Here,
    /// The new front could serve now.
    Ready {
        /// Its version.
        version: String,
    },
    /// It cannot.
    Failed {
        /// Why.
        reason: String,
    },
    /// The new front is to serve; the old one still serves so much.
    Go(Load),
    /// The old one still serves so much.
    Draining(Load),
    /// A word of another version.
    #[serde(other)]
    Unknown,
}

/// What a front serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// Requests.
    pub in_flight: u64,
    /// Connections of clients.
    pub connections: usize,
}

impl Load {
    /// It as that of a front before this one.
    pub fn of(self, pid: u32) -> PredecessorReport {
        let Self { in_flight, connections } = self;
        PredecessorReport { pid, in_flight, connections }
    }
}

/// The two ends, the old front's first.
///
/// # Errors
/// No descriptor is left.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Puts the handover on its way.
///
/// # Errors
/// There are too many sockets for one message.
fn give(end: BorrowedFd<'_>, handover: &Handover, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other(format!("{} sockets are too many to hand over", descriptors.len())));
    }
    sendmsg(end, &[IoSlice::new(&serde_json::to_vec(handover)?)], &mut control, SendFlags::empty())?;
    Ok(())
}

/// Waits for the handover.
///
/// # Errors
/// It is none.
pub fn take(end: &OwnedFd) -> io::Result<(Handover, Vec<OwnedFd>)> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(end, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            descriptors.extend(more);
        }
    }
    let handover: Handover = message(bytes.get(..got.bytes))?;
    match descriptors.len().checked_sub(1) {
        Some(rest) if rest == handover.sockets.len() + handover.predecessors.len() => Ok((handover, descriptors)),
        _ => Err(io::Error::other("the sockets that were handed over are not those that were named")),
    }
}

fn message<T: DeserializeOwned>(bytes: Option<&[u8]>) -> io::Result<T> {
    Ok(serde_json::from_slice(bytes.unwrap_or_default())?)
}

/// One end, on a tokio runtime. Sequenced packets are read and written as datagrams are, but have an end.
#[derive(Debug)]
pub struct Channel(UnixDatagram);

impl Channel {
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// The system cannot watch it.
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&end, true)?;
        Ok(Self(UnixDatagram::from_std(end.into())?))
    }

    /// Says something. Nobody is waited for: a word that finds no room or no listener is lost.
    pub fn tell(&self, word: &Word) {
        say(self.0.as_fd(), word);
    }

    /// Puts the handover on its way.
    ///
    /// # Errors
    /// There are too many sockets for one message.
    pub fn give(&self, handover: &Handover, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        give(self.0.as_fd(), handover, descriptors)
    }

    /// The next word; `None` when the other process is gone. Nothing is lost when it is not waited for to the end.
    pub async fn hear(&self) -> Option<Word> {
        let mut bytes = vec![0; LONGEST];
        match self.0.recv(&mut bytes).await {
            Ok(0) | Err(_) => None,
            Ok(length) => Some(message(bytes.get(..length)).unwrap_or(Word::Unknown)),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The same from where there is no runtime.
pub fn say(end: BorrowedFd<'_>, word: &Word) {
    if let Ok(bytes) = serde_json::to_vec(word) {
        let _ = send(end, &bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handover(sockets: usize) -> Handover {
        let asked = |n| Asked::Api { host: "127.0.0.1".into(), port: n, api: None };
        let sockets = (0..).take(sockets).map(asked).collect();
        Handover {
            version: "0.1.0".into(),
            pid: 7,
            generation: 3,
            runtime_dir: "/run/pasteway".into(),
            sockets,
            predecessors: Vec::new(),
        }
    }

    #[test]
    fn descriptors_come_with_what_they_are() {
        let (old, new) = pair().expect("a pair");
        let file = std::fs::File::open("/dev/null").expect("there");
        give(old.as_fd(), &handover(252), &[file.as_fd(); 253]).expect("given");
        let (taken, descriptors) = take(&new).expect("taken");
        assert_eq!((taken, descriptors.len()), (handover(252), 253));
        assert!(give(old.as_fd(), &handover(253), &[file.as_fd(); 254]).is_err());
        give(old.as_fd(), &handover(2), &[file.as_fd()]).expect("given");
        assert!(take(&new).is_err(), "fewer than were named");
        let before = PredecessorReport { pid: 6, in_flight: 1, connections: 2 };
        let with_one_before = Handover { predecessors: vec![before], ..handover(1) };
        give(old.as_fd(), &with_one_before, &[file.as_fd(); 3]).expect("given");
        assert_eq!(take(&new).expect("taken").0, with_one_before);
    }

    #[tokio::test]
    async fn words_are_heard_in_order_and_the_end_after_them() {
        let (old, new) = pair().expect("a pair");
        let channel = Channel::new(new).expect("watched");
        let load = Load { in_flight: 3, connections: 4 };
        say(old.as_fd(), &Word::Go(load));
        send(&old, br#"{"word": "go"}"#, SendFlags::empty()).expect("sent");
        send(&old, br#"{"word": "of a later version", "n": 1}"#, SendFlags::empty()).expect("sent");
        drop(old);
        assert_eq!(channel.hear().await, Some(Word::Go(load)));
        assert_eq!(channel.hear().await, Some(Word::Go(Load::default())));
        assert_eq!(channel.hear().await, Some(Word::Unknown));
        assert_eq!(channel.hear().await, None);
        channel.tell(&Word::Here);
    }
}
