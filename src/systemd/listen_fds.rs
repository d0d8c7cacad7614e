//! Takes the sockets that the service manager has passed (Linux).

use std::os::fd::{AsFd, IntoRawFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd};
use socket2::{Socket, Type};

use super::inherited::{ActivationError, Inherited};

/// Most sockets that may be passed.
const MAX_SOCKETS: u32 = 32_768;

/// The listening sockets that the service manager has passed to this process; none if it has not. To be called once, before
/// anything else is opened.
///
/// # Errors
/// When the environment makes no sense, or one of them is no listening TCP socket.
pub fn inherit() -> Result<Vec<Inherited>, ActivationError> {
    let value = |name| std::env::var(name).ok();
    let passed = count(
        value("LISTEN_PID").as_deref(),
        value("LISTEN_FDS").as_deref(),
        std::process::id(),
    )?;
    if passed == 0 {
        return Ok(Vec::new());
    }
    let given = sd_listen_fds::get().map_err(|error| ActivationError::Malformed {
        variable: "LISTEN_FDS",
        why: error.to_string(),
    })?;
    debug_assert_eq!(u32::try_from(given.len()), Ok(passed), "both read the same");
    let given = given
        .into_iter()
        .map(|(name, descriptor)| (name, descriptor.into_std()));
    // All are looked at, so that one that is not open is let go, and not closed, whatever the others are.
    let usable: Vec<_> = given
        .enumerate()
        .map(|(index, (name, fd))| usable(index, name, fd))
        .collect();
    usable.into_iter().collect()
}

/// How many sockets were passed to the process `own`, by the values of `LISTEN_PID` and `LISTEN_FDS`.
fn count(pid: Option<&str>, sockets: Option<&str>, own: u32) -> Result<u32, ActivationError> {
    let (Some(pid), Some(sockets)) = (pid, sockets) else {
        return Ok(0);
    };
    let number = |variable, text: &str| {
        text.parse::<u32>().map_err(|error| ActivationError::Malformed {
            variable,
            why: format!("`{text}`: {error}"),
        })
    };
    if number("LISTEN_PID", pid)? != own {
        return Ok(0);
    }
    match number("LISTEN_FDS", sockets)? {
        count if count <= MAX_SOCKETS => Ok(count),
        count => Err(ActivationError::Malformed {
            variable: "LISTEN_FDS",
            why: format!("{count} are more than {MAX_SOCKETS}"),
        }),
    }
}

/// One of them, if it is what it should be.
fn usable(index: usize, name: Option<String>, descriptor: OwnedFd) -> Result<Inherited, ActivationError> {
    if let Err(error) = fcntl_setfd(descriptor.as_fd(), FdFlags::CLOEXEC) {
        // It is not open: closing it might close what somebody else opens meanwhile.
        let _ = descriptor.into_raw_fd();
        return Err(unusable(index, name, error.to_string()));
    }
    let socket = Socket::from(descriptor);
    let addr = socket.local_addr().ok().and_then(|addr| addr.as_socket());
    let is_stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    match (addr, socket.is_listener()) {
        (Some(addr), Ok(true)) if is_stream => Ok(Inherited { name, addr, socket }),
        (Some(_), Ok(false)) if is_stream => Err(unusable(
            index,
            name,
            "it does not listen (Accept=yes?)".to_owned(),
        )),
        (Some(_) | None, _) => Err(unusable(index, name, "it is no TCP socket".to_owned())),
    }
}

fn unusable(index: usize, name: Option<String>, why: String) -> ActivationError {
    ActivationError::Unusable { index, name, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_for_another_process_are_not_ours() {
        assert!(matches!(count(Some("7"), Some("2"), 7), Ok(2)));
        for (pid, sockets) in [
            (None, None),
            (Some("7"), None),
            (None, Some("2")),
            (Some("8"), Some("2")),
            (Some("7"), Some("0")),
        ] {
            assert!(matches!(count(pid, sockets, 7), Ok(0)), "{pid:?} {sockets:?}");
        }
        for (pid, sockets) in [
            ("", "1"),
            ("x", "1"),
            ("7", "x"),
            ("7", "-1"),
            ("7", "4294967290"),
        ] {
            let error = count(Some(pid), Some(sockets), 7).expect_err("malformed");
            assert!(matches!(error, ActivationError::Malformed { .. }), "{error}");
        }
    }
}
