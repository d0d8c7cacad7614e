//! What a service manager can be told, in its own words (pure).

use std::fmt::Write;
use std::time::Duration;

/// Something that a service manager can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The start, or a reload, is over: connections are accepted.
    Ready,
    /// A reload begins; [`Notice::Ready`] ends it, also one that changed nothing.
    Reloading,
    /// The stop has begun.
    Stopping,
    /// How things stand, in one line for people.
    Status(&'a str),
    /// The process is well.
    Watchdog,
    /// Another process is the service from now on.
    MainPid(u32),
}

/// Notices as one message. `since_boot` is the monotonic clock, by which a reload is told from the one before.
#[cfg_attr(not(unix), expect(dead_code, reason = "nobody is told there"))]
pub(super) fn message(notices: &[Notice<'_>], since_boot: Duration) -> String {
    let mut text = String::new();
    for notice in notices {
        let written = match notice {
            Notice::Ready => writeln!(text, "READY=1"),
            Notice::Reloading => {
                writeln!(text, "RELOADING=1\nMONOTONIC_USEC={}", since_boot.as_micros())
            }
            Notice::Stopping => writeln!(text, "STOPPING=1"),
            // What is in it may come from elsewhere; it must not become a line of its own.
            Notice::Status(status) => {
                writeln!(text, "STATUS={}", status.replace(|c: char| c.is_control(), " "))
            }
            Notice::Watchdog => writeln!(text, "WATCHDOG=1"),
            Notice::MainPid(pid) => writeln!(text, "MAINPID={pid}"),
        };
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_the_lines_of_the_protocol() {
        let now = Duration::from_micros(1_234_567_890);
        let said = |notices: &[Notice<'_>]| message(notices, now);
        assert_eq!(said(&[Notice::Ready]), "READY=1\n");
        assert_eq!(
            said(&[Notice::Reloading]),
            "RELOADING=1\nMONOTONIC_USEC=1234567890\n"
        );
        assert_eq!(
            said(&[Notice::Stopping, Notice::Watchdog]),
            "STOPPING=1\nWATCHDOG=1\n"
        );
        assert_eq!(said(&[Notice::MainPid(7)]), "MAINPID=7\n");
        assert_eq!(
            said(&[Notice::Status("3 of 9\nREADY=1\0")]),
            "STATUS=3 of 9 READY=1 \n"
        );
        assert_eq!(said(&[]), "");
    }
}
