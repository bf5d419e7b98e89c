//! What a thread asks of the kernel's scheduler.
//!
//! Linux gives each runnable thread a slice of time, and a thread that wakes mostly waits until the running one has had its
//! own, which can be milliseconds. From 6.12 on a thread may ask for shorter slices (`sched_setattr` with `sched_runtime`,
//! 0.1 to 100 ms, no privilege needed): its share of the processor is the same, but when it wakes it goes before threads
//! with longer ones. See the kernel's `Documentation/scheduler/sched-eevdf.rst`, and `kernel/sched/syscalls.c`.
//!
//! Must not know what a thread does.

/// The shortest slice there is, in nanoseconds: what a thread does for one request takes less.
#[cfg(target_os = "linux")]
const SLICE: u64 = 100_000;

/// Asks for short slices for this thread and those that it starts later. Where the kernel knows none, or a sandbox
/// forbids the call, all is as before.
#[cfg(target_os = "linux")]
pub fn wake_promptly() {
    // Of another policy (batch, real time) the operator has decided.
    if let Some(mut attributes) = attributes()
        && attributes.sched_policy == libc::SCHED_OTHER.cast_unsigned()
    {
        attributes.sched_runtime = SLICE;
        set(&attributes);
    }
}

/// This thread's, its niceness among them.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate offers this call")]
fn attributes() -> Option<libc::sched_attr> {
    // SAFETY: all-zero bytes are a valid value of a struct of integers.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of_val(&attributes);
    // SAFETY: the kernel writes at most `size` bytes, which the value has; thread 0 is this one.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    (result == 0).then_some(attributes)
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate offers this call")]
fn set(attributes: &libc::sched_attr) {
    // SAFETY: the kernel reads as many bytes as `size` in them says, which it has set itself, to no more than they have.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *attributes, 0) };
}

/// Other systems decide by themselves.
#[cfg(not(target_os = "linux"))]
pub fn wake_promptly() {}

/// Lets those go first that wait for this processor. To be called between the steps of what takes long: since Linux 6.18
/// who yields has also had the rest of its slice, so that what wakes in the next moments need not wait for it either.
pub fn give_way() {
    rustix::thread::sched_yield();
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_short_slices_and_stays_as_nice_as_it_was() {
        let before = attributes().expect("attributes");
        wake_promptly();
        let after = attributes().expect("attributes");
        // Kernels before 6.12 tell none.
        assert!(after.sched_runtime == SLICE || after.sched_runtime == 0, "{}", after.sched_runtime);
        assert_eq!((after.sched_policy, after.sched_nice), (before.sched_policy, before.sched_nice));
    }

    #[test]
    fn a_policy_that_somebody_chose_is_left_alone() {
        let mut batch = attributes().expect("attributes");
        batch.sched_policy = libc::SCHED_BATCH.cast_unsigned();
        set(&batch);
        let before = attributes().expect("attributes");
        wake_promptly();
        let after = attributes().expect("attributes");
        assert_eq!((after.sched_policy, after.sched_runtime), (before.sched_policy, before.sched_runtime));
        assert_eq!(after.sched_policy, libc::SCHED_BATCH.cast_unsigned());
    }
}
