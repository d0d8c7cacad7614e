//! The access log's two letters: by whom and in which phase a connection ends, each provoked.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use socket2::SockRef;
use tcp_forwarder::config::{Algorithm, LogFormat, LogOutput, ProxyAccept, Spec, Strategy};
use tempfile::TempDir;

use crate::rig::{Rig, TestBackend, own_ip, wait_for};
use crate::support::{Silent, ping};

const SOON: Duration = Duration::from_millis(100);

/// A rig whose service writes lines of JSON to a file.
struct Scene {
    rig: Rig,
    file: PathBuf,
    _folder: TempDir,
}

impl Scene {
    /// Dials for each client, once.
    fn of(backends: &[SocketAddr], change: impl FnOnce(&mut Spec)) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("access.log");
        let mut spec = Spec::default();
        spec.pools.strategy = Strategy::Off;
        spec.pools.dial_attempts = 1;
        spec.access_log.output = Some(LogOutput::File(file.clone()));
        spec.access_log.format = LogFormat::Json;
        change(&mut spec);
        Self {
            rig: Rig::start(&spec, backends, 1),
            file,
            _folder: folder,
        }
    }

    /// The lines, once there are so many.
    fn lines(&self, count: usize) -> Vec<Value> {
        let read = || std::fs::read_to_string(&self.file).unwrap();
        wait_for("lines", || read().lines().count() >= count);
        let lines: Vec<Value> = read()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }

    /// Holds the line of the only client to these letters, words and reason.
    fn expect(&self, code: &str, (by, phase, reason): (&str, &str, &str)) -> Value {
        let line = self.lines(1).remove(0);
        assert_eq!(line["end"], code, "{line}");
        assert_eq!(line["by"], by, "{line}");
        assert_eq!(line["phase"].as_str().unwrap_or("-"), phase, "{line}");
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(line["service"], "default");
        assert_eq!(line["listener"], self.rig.addr.to_string());
        line
    }
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Until the other side is done with it.
fn wait_for_end(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer), Ok(count) if count > 0) {}
}

/// A port of an address of its own that refuses.
fn refusing() -> SocketAddr {
    let listener = std::net::TcpListener::bind((own_ip(), 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Takes what it is sent, and does not answer.
fn mute() -> SocketAddr {
    TestBackend::start(|mut stream| wait_for_end(&mut stream)).addr
}

/// Answers the first bytes by one byte, and then does this.
fn answering(then: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    TestBackend::start(move |mut stream| {
        if stream.read(&mut [0; 16]).is_ok_and(|count| count > 0) && stream.write_all(b"!").is_ok() {
            then(stream);
        }
    })
    .addr
}

/// A client that has asked and was answered by one byte.
fn answered(scene: &Scene) -> TcpStream {
    let mut client = scene.rig.connect();
    client.write_all(b"?").unwrap();
    client.read_exact(&mut [0]).unwrap();
    client
}

fn header_awaited(spec: &mut Spec) {
    spec.server.proxy_protocol.accept = ProxyAccept::Any;
    spec.server.proxy_protocol.from = vec!["127.0.0.0/8".parse().unwrap()];
}

#[test]
fn both_finish() {
    let backend = TestBackend::echo().addr;
    let scene = Scene::of(&[backend], |_| ());
    let mut client = scene.rig.connect();
    let addr = client.local_addr().unwrap();
    ping(&mut client, b"hello");
    client.shutdown(Shutdown::Write).unwrap();
    wait_for_end(&mut client);
    let line = scene.expect("--", ("nobody", "-", "finished"));
    assert_eq!(line["client"], addr.to_string());
    assert_eq!(line["backend"], backend.to_string());
    assert_eq!((&line["bytes_up"], &line["bytes_down"]), (&5.into(), &5.into()));
    assert_eq!(line["via"], "dialled");
    assert_eq!(line["tries"], 0);
    let millis = |name: &str| line[name].as_f64().unwrap();
    let parts = millis("wait_ms") + millis("connect_ms") + millis("first_byte_ms");
    assert!(parts <= millis("total_ms") + 0.01, "{line}");
    for name in ["proxy", "tls", "sni", "alpn"] {
        assert!(line[name].is_null(), "{line}");
    }
}

#[test]
fn in_the_preface() {
    for (words, is_closed, code, (by, reason)) in [
        ("PROX", true, "CR", ("client", "handshake_failed")),
        ("", false, "cR", ("client_timeout", "handshake_timeout")),
        ("GET /\r\n", false, "PR", ("forwarder", "handshake_failed")),
    ] {
        let scene = Scene::of(&[TestBackend::echo().addr], |spec| {
            header_awaited(spec);
            if !is_closed {
                spec.server.handshake_timeout = SOON;
            }
        });
        let mut client = scene.rig.connect();
        client.write_all(words.as_bytes()).unwrap();
        if is_closed {
            client.shutdown(Shutdown::Write).unwrap();
        }
        wait_for_end(&mut client);
        let line = scene.expect(code, (by, "preface", reason));
        assert!(line["backend"].is_null() && line["wait_ms"].is_null(), "{line}");
    }
}

#[test]
fn a_named_client_that_is_not_welcome() {
    let scene = Scene::of(&[TestBackend::echo().addr], |spec| {
        header_awaited(spec);
        spec.server.deny = vec!["192.0.2.0/24".parse().unwrap()];
    });
    let mut client = scene.rig.connect();
    let proxy = client.local_addr().unwrap();
    client
        .write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\n")
        .unwrap();
    wait_for_end(&mut client);
    let line = scene.expect("PR", ("forwarder", "preface", "refused"));
    assert_eq!(line["client"], "192.0.2.7:4000");
    assert_eq!(line["proxy"], proxy.to_string());
}

#[test]
fn in_the_queue() {
    let scene = Scene::of(&[], |spec| spec.server.idle_timeout = SOON);
    wait_for_end(&mut scene.rig.connect());
    scene.expect("RQ", ("resources", "queue", "dial_failed"));
    let scene = Scene::of(&[], |_| ());
    let client = scene.rig.connect();
    wait_for("it is in", || scene.rig.active() == 1);
    reset(client);
    scene.expect("CQ", ("client", "queue", "client_reset"));

    let scene = Scene::of(&[TestBackend::echo().addr], |spec| {
        spec.pools.queue_timeout = SOON;
    });
    let backend = std::sync::Arc::clone(&scene.rig.set().backends[0]);
    backend.set_max_connections(std::num::NonZeroU32::new(1));
    let _place = tcp_forwarder::backend::Place::take(&backend).expect("nobody else has it");
    // The only place is taken before the client comes, and nobody gives it back.
    wait_for_end(&mut scene.rig.connect());
    let line = scene.expect("sQ", ("backend_timeout", "queue", "queue_timeout"));
    assert!(line["backend"].is_null(), "{line}");
}

#[test]
fn while_it_is_dialled_for() {
    let silent = Silent::on(own_ip());
    let scene = Scene::of(&[silent.addr], |_| ());
    let client = scene.rig.connect();
    wait_for("it is in", || scene.rig.active() == 1);
    reset(client);
    scene.expect("CC", ("client", "connect", "client_reset"));

    let scene = Scene::of(&[silent.addr], |spec| spec.pools.dial_timeout = SOON);
    wait_for_end(&mut scene.rig.connect());
    let line = scene.expect("sC", ("backend_timeout", "connect", "dial_failed"));
    assert_eq!(line["backend"], silent.addr.to_string(), "who failed it");
    assert_eq!(line["tries"], 1);

    let scene = Scene::of(&[refusing()], |_| ());
    wait_for_end(&mut scene.rig.connect());
    scene.expect("SC", ("backend", "connect", "dial_failed"));
}

#[test]
#[cfg(target_os = "linux")]
fn for_a_lack_of_our_own() {
    let scene = Scene::of(&[TestBackend::echo().addr], |spec| {
        spec.remotes.bind.interface = Some("nowhere0".to_owned());
    });
    wait_for_end(&mut scene.rig.connect());
    scene.expect("RC", ("resources", "connect", "dial_failed"));
}

#[test]
fn before_the_backend_has_spoken() {
    let scene = Scene::of(&[mute()], |_| ());
    let mut client = scene.rig.connect();
    client.write_all(b"?").unwrap();
    wait_for("it was heard", || {
        scene.rig.sum_counters(|one| &one.bytes_to_backend) == 1
    });
    reset(client);
    let line = scene.expect("CH", ("client", "first_byte", "client_reset"));
    assert!(
        line["first_byte_ms"].is_null() && line["connect_ms"].is_f64(),
        "{line}"
    );

    let dying = TestBackend::start(|mut stream| {
        let _ = stream.read(&mut [0; 16]);
        reset(stream);
    });
    let scene = Scene::of(&[dying.addr], |_| ());
    let mut client = scene.rig.connect();
    client.write_all(b"?").unwrap();
    wait_for_end(&mut client);
    scene.expect("SH", ("backend", "first_byte", "backend_reset"));

    for (words, code, by) in [("?", "sH", "backend_timeout"), ("", "cH", "client_timeout")] {
        let scene = Scene::of(&[mute()], |spec| spec.server.idle_timeout = SOON);
        let mut client = scene.rig.connect();
        client.write_all(words.as_bytes()).unwrap();
        wait_for_end(&mut client);
        scene.expect(code, (by, "first_byte", "idle_timeout"));
    }
}

#[test]
fn while_bytes_move() {
    let held = || answering(|mut stream| wait_for_end(&mut stream));
    let scene = Scene::of(&[held()], |_| ());
    reset(answered(&scene));
    let line = scene.expect("CD", ("client", "data", "client_reset"));
    assert!(line["first_byte_ms"].is_f64(), "{line}");

    let scene = Scene::of(&[answering(reset)], |_| ());
    wait_for_end(&mut answered(&scene));
    scene.expect("SD", ("backend", "data", "backend_reset"));

    let scene = Scene::of(&[held()], |spec| spec.server.idle_timeout = SOON);
    wait_for_end(&mut answered(&scene));
    scene.expect("cD", ("client_timeout", "data", "idle_timeout"));
}

#[test]
fn while_a_backend_takes_no_more() {
    // It answers, and then reads nothing until everything is over.
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let stuck = answering(move |_stream| assert!(released.lock().unwrap().recv().is_err()));
    let scene = Scene::of(&[stuck], |spec| {
        spec.server.idle_timeout = Duration::from_millis(400);
    });
    let mut client = answered(&scene);
    let bytes = vec![7; 1 << 20];
    while client.write_all(&bytes).is_ok() {}
    scene.expect("sD", ("backend_timeout", "data", "idle_timeout"));
    drop(release);
}

#[test]
fn after_one_side_has_finished() {
    let finishing = || {
        answering(|mut stream| {
            stream.shutdown(Shutdown::Write).unwrap();
            wait_for_end(&mut stream);
        })
    };
    let scene = Scene::of(&[finishing()], |_| ());
    let mut client = answered(&scene);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    reset(client);
    scene.expect("CL", ("client", "last", "client_reset"));

    let scene = Scene::of(&[finishing()], |spec| spec.server.half_close_timeout = SOON);
    let mut client = answered(&scene);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    scene.expect("cL", ("client_timeout", "last", "half_close_timeout"));

    // It does not finish though its client has.
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let waiting = answering(move |_stream| assert!(released.lock().unwrap().recv().is_err()));
    let scene = Scene::of(&[waiting], |spec| spec.server.half_close_timeout = SOON);
    let client = answered(&scene);
    client.shutdown(Shutdown::Write).unwrap();
    scene.expect("sL", ("backend_timeout", "last", "half_close_timeout"));
    drop(release);

    let resetting = answering(|mut stream| {
        wait_for_end(&mut stream);
        reset(stream);
    });
    let scene = Scene::of(&[resetting], |_| ());
    let client = answered(&scene);
    client.shutdown(Shutdown::Write).unwrap();
    scene.expect("SL", ("backend", "last", "backend_reset"));
}

#[test]
fn cut_by_a_stop_and_by_a_removal() {
    let held = || answering(|mut stream| wait_for_end(&mut stream));
    let scene = Scene::of(&[held()], |spec| spec.pools.drain_timeout = SOON);
    let mut client = answered(&scene);
    scene.rig.begin_stop();
    wait_for_end(&mut client);
    scene.expect("KD", ("stop", "data", "drained"));

    let scene = Scene::of(&[held()], |spec| {
        spec.pools.drain_timeout = SOON;
        spec.pools.reset_on_removal = true;
    });
    let mut client = answered(&scene);
    scene.rig.activate(&[held()]);
    wait_for_end(&mut client);
    scene.expect("DD", ("removal", "data", "backend_removed"));
}

#[test]
fn warm_raced_and_tried_twice() {
    let echo = TestBackend::echo().addr;
    let scene = Scene::of(&[echo], |spec| {
        spec.pools.strategy = Strategy::Static { size_per_remote: 1 };
    });
    wait_for("it is warm", || scene.rig.warm() == 1);
    let mut client = scene.rig.connect();
    ping(&mut client, b"hello");
    drop(client);
    let line = scene.lines(1).remove(0);
    assert_eq!(line["via"], "warm", "{line}");
    assert_eq!(line["connect_ms"], 0.0, "{line}");

    let scene = Scene::of(&[refusing(), echo], |spec| {
        spec.pools.dial_attempts = 2;
        spec.pools.algorithm = Algorithm::RoundRobin;
    });
    ping(&mut scene.rig.connect(), b"hello");
    let line = scene.lines(1).remove(0);
    assert_eq!(line["tries"], 1, "{line}");
    assert_eq!(line["backend"], echo.to_string(), "{line}");

    let silent = Silent::on(own_ip());
    let scene = Scene::of(&[silent.addr, echo], |spec| {
        spec.pools.dial_attempts = 2;
        spec.pools.race.width = 2;
        spec.pools.race.delay = Some(Duration::from_millis(20));
        spec.pools.algorithm = Algorithm::RoundRobin;
    });
    ping(&mut scene.rig.connect(), b"hello");
    let line = scene.lines(1).remove(0);
    assert_eq!(
        (&line["raced"], &line["tries"]),
        (&true.into(), &0.into()),
        "{line}"
    );
    assert_eq!(line["backend"], echo.to_string(), "{line}");
}
