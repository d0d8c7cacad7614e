//! Faults around the real program, injected while it runs, and what is promised when they come.
//!
//! Backends and clients are those of `tests/support/peers`: every connection is a seeded exchange whose bytes are
//! known on both sides. Each case of a peer ends with `Rig::aftermath`: whole exchanges over all backends; gauges at rest;
//! each accepted connection closed for exactly one reason; sockets as before but for warm connections; pipes,
//! threads and memory within their bounds; no byte that nobody sent, no upload that ended properly before its end;
//! a stop with status 0 and nothing on standard error. `TCP_FORWARDER_LONG=1` repeats more, `TCP_FORWARDER_SEED`
//! repeats what a failed case printed.
//!
//! | case | injected | promised, besides that |
//! |---|---|---|
//! | `backends::refusing` | one of three stops listening, under its warm connections | every client is served by another one |
//! | `backends::timing_out` | the queue of one of three is full: connects hang | the same, one `dial_timeout` later |
//! | `backends::hanging_two_at_a_time_under_races` | the queues of two of three are full, dials are raced, half of the clients reset meanwhile | who waits is served; at most 7 second dials for 100 clients |
//! | `backends::accepting_and_ending_at_once` | one of three closes, or resets, whatever it accepts | clients are served, or told before they have heard anything; no descriptor stays |
//! | `backends::closing_warm_connections_at_random` | all of them close connections silent for up to 400 ms | nobody notices but those whose request met the close on its way, which backends count |
//! | `backends::speaking_first` | a banner before any request, on warm and on new connections | it comes once, whole, and first |
//! | `backends::never_reading_until_later` | uploads larger than all buffers, to backends that do not read | memory of one read for each; all of them whole once they are read |
//! | `backends::never_answering` | one of two reads and says nothing, not even an end | the half-close time-out ends these, and nobody else |
//! | `backends::answering_after_a_half_close` | no answer before the client has finished | every answer whole |
//! | `backends::resetting_in_the_middle_of_a_stream` | a reset behind 1 byte to 900 kB that the backend has sent | the client gets exactly these, then a reset: never a proper end behind a part |
//! | `backends::flapping` | one of three dies and returns every 150 ms (1 s) under traffic | only those are reset that were on it; nobody finds no backend |
//! | `backends::leaving_and_returning` | one dies until it has left the active set, and returns | it leaves, returns, and is used again |
//! | `backends::all_of_them_dying_and_coming_back` | all three die under downloads, and return | clients are told at once; served again within 3 s |
//! | `clients::leaving_at_once` | hundreds end or reset before or in the middle of their order | each is accepted, counted, and gone |
//! | `clients::sending_before_the_dial_is_done` | whole uploads while the dial hangs; some reset meanwhile | those who wait are served whole |
//! | `clients::one_byte_at_a_time_from_thousands` | 1,500 (6,000) clients, a byte every 150 ms (1 s) | all whole; others are served beside them |
//! | `clients::finishing_before_anything_is_heard` | half-close first, with nothing sent or nothing wanted | whole in each direction |
//! | `clients::resetting_in_the_middle_of_an_upload` | resets behind 1 byte to 700 kB | the backend sees a reset, and never an end; counted as `client_reset` |
//! | `clients::never_reading` | downloads larger than all buffers, not read; some are killed, some read later | memory of one read for each; whole once they read |
//! | `clients::ten_thousand_connects_in_a_burst` | 10,000 from four addresses at once, a fifth of which leaves or resets; 2,500 places | 8,000 served whole, 2,000 counted, nobody sent away |
//! | `clients::all_closing_in_one_instant` | 2,000 relays finish, or are reset, at once | all are gone within 10 s |
//! | `overload::a_greedy_address_that_holds_every_place` | one address holds `max_connections` | others wait at the door, unharmed; all are served once it leaves |
//! | `overload::a_greedy_address_that_comes_back_at_once` | one address stands in the queue four times over, always | first come, first served: others wait 10 s at most |
//! | `stop::in_the_middle_of_each_fault` | SIGTERM or SIGINT during each of thirteen backends' and six clients' faults, seven failing calls, no descriptor left, `SIGSTOP`, and bandwidth used up by others | who is well finishes whole within `drain_timeout`; the end within 5 s of it, status 0 |
//! | `stop::a_reactor_that_fails_is_told` | a poll that fails while relays finish | status 1 and a line that says so |
//! | `stop::with_every_place_taken` | SIGTERM with `max_connections` relays and more in the queue | those inside finish whole; those outside are served or told |
//! | `kernel_buffers::tiny_buffers_of_peers` | the smallest buffers at clients and a backend, from the beginning and while a pipe is in use | every byte in its place |
//! | `kernel_buffers::tiny_buffers_of_everybody` | 4 KiB for every buffer of every socket of a namespace | the same |
//! | `kernel_calls::each_call_of_the_data_path` | each system call of the data path fails, with each error it may have, by `strace` | each costs nothing, one dial, or the one connection it happened on |
//! | `kernel_calls::pipes_for_bulk` | no pipe is to be had, or none of the size that is wanted | bulk is copied, and whole |
//! | `kernel_descriptors::at_every_limit_it_serves_or_says_why_not` | each limit of descriptors from 4 to 45 | it serves, in turns, or ends with status 1 and one clear line |
//! | `kernel_descriptors::falling_to_what_is_in_use_while_it_runs` | the limit falls to what is in use and 0 to 12 more | nobody is lost who has a connection; all is well once it rises |
//! | `kernel_ports::out_of_local_ports` | six local ports for 108 clients, in a namespace | who needs one waits; no probe and no dial counts; all whole once there are ports |
//! | `kernel_ports::an_address_without_a_way_to_it_is_no_lack_of_ports` | an address of a version of IP that is not there | it fails at once, unlike a lack of ports |
//! | `kernel_source::the_address_to_leave_from_goes_away` | the address of `remotes.bind` is taken away for a second | who needs a dial is told that there is none; nobody is blamed; service is back with the address |
//! | `kernel_source::one_port_is_enough_for_a_connection_to_each` | one local port in all, and an address to leave from | it serves for one connection to each backend |
//! | `kernel_pipes::out_of_pages_for_pipes` | another process of the user holds every page of pipes | bulk is copied, and whole |
//! | `process_log::a_log_file_that_takes_nothing_stops_nobody` | nobody reads the pipe behind `logging.output`, and it is full | forwarding, metrics and the stop go on; lines are lost, and counted |
//! | `process_log::a_standard_output_that_takes_nothing_stops_nobody` | the same with standard output | the same |
//! | `process_log::a_full_disk_from_the_beginning_costs_the_log_alone` | every write of the log fails | forwarding, and a stop with status 0 |
//! | `process_log::a_disk_that_fills_up_and_has_room_again_costs_the_lines_between` | the disk fills up in the middle of a line, and has room later | whole lines again afterwards |
//! | `process_panic::a_thread_that_panics_ends_the_process_with_status_1` | a panic in each kind of thread | it is said, and nothing is left of the process |
//! | `process_panic::a_panic_inside_the_logger_ends_the_process_too` | a panic while the logger is locked | status 1, no deadlock |
//! | `process_panic::a_panic_that_cannot_be_told_ends_the_process_too` | a panic with a standard error that is full | status 1, no hang |
//! | `process_stop::standing_still_costs_nobody_anything` | `SIGSTOP` for 2 s (10 s), under busy relays and newcomers | all are served whole; no candidate and no silence is blamed for it |
//! | `process_stop::standing_still_makes_no_dial_slow` | `SIGSTOP` for longer than `dial_timeout`, while dozens of dials hang | a dial that hangs afterwards is raced as soon as before |
//! | `process_stop::standing_still_in_the_middle_of_a_turn_makes_nobody_silent` | a turn of the reactor that takes longer than the idle time-out | no relay is closed for silence |
//! | `process_stop::standing_still_over_a_half_close_leaves_time_for_the_answer` | a finish that is handed on later than a half-close may last | the answer comes whole |

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, waiting has a deadline"
)]

mod backends;
mod clients;
mod kernel_buffers;
mod kernel_calls;
mod kernel_descriptors;
mod kernel_pipes;
mod kernel_ports;
mod kernel_source;
mod namespace;
mod overload;
#[path = "../support/peers/mod.rs"]
mod peers;
mod process_log;
mod process_panic;
mod process_stop;
mod stop;
#[path = "../support/mod.rs"]
mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Cases with thousands of connections take turns: all peers are in this process, which may have 20,000 descriptors.
pub(crate) fn my_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let limit = tcp_forwarder::net::raise_descriptor_limit();
    assert!(limit >= 16_000, "needs 16,000 descriptors, has {limit}");
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `few`, or `many` in a long run (environment variable `TCP_FORWARDER_LONG`).
pub(crate) fn scaled(few: usize, many: usize) -> usize {
    if std::env::var_os("TCP_FORWARDER_LONG").is_some() {
        many
    } else {
        few
    }
}

/// The names of the tests of one file.
fn tests_of(text: &str) -> impl Iterator<Item = &str> {
    let after = text.split("#[test]\nfn ").skip(1);
    after.filter_map(|rest| rest.split_once('(').map(|(name, _)| name))
}

#[test]
fn every_case_says_what_it_promises() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults");
    let this = std::fs::read_to_string(folder.join("main.rs")).unwrap();
    let rows = this.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let mut said: Vec<_> = rows
        .filter_map(|row| row.split_once('`'))
        .map(|row| row.0.to_owned())
        .collect();
    let mut cases = Vec::new();
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap();
        if module != "main" {
            let text = std::fs::read_to_string(&path).unwrap();
            // What is run as a copy of this program is no case.
            let names = tests_of(&text).filter(|name| !name.starts_with("copy_"));
            cases.extend(names.map(|name| format!("{module}::{name}")));
        }
    }
    said.sort();
    cases.sort();
    assert_eq!(said, cases, "the table at the beginning of tests/faults/main.rs");
}
