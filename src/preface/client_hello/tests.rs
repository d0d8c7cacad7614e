//! Messages that are wrong in every way. Those that are right are openssl's: `tests/client_hello.rs`.

use super::*;

/// A message of these extensions, in one record.
fn message(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (kind, value) in extensions {
        block.extend(kind.to_be_bytes());
        block.extend(long(value));
    }
    record(&handshake(&[&head()[..], &long(&block)].concat()))
}

/// What stands before the extensions.
fn head() -> Vec<u8> {
    [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0]].concat()
}

fn long(value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a length");
    [&length.to_be_bytes()[..], value].concat()
}

fn handshake(body: &[u8]) -> Vec<u8> {
    [&[1, 0][..], &long(body)].concat()
}

fn record(content: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &long(content)].concat()
}

/// The value of the extension that names a host.
fn named(name: &[u8]) -> Vec<u8> {
    long(&[&[0][..], &long(name)].concat())
}

fn name_of(extensions: &[(u16, &[u8])]) -> Option<Vec<u8>> {
    let hello = read(&message(extensions))
        .expect("it is right")
        .expect("it is whole");
    hello.name.map(Vec::from)
}

#[test]
fn names_are_told_in_one_form() {
    assert_eq!(
        name_of(&[(0, &named(b"WWW.Example.Org."))]),
        Some(b"www.example.org".to_vec())
    );
    assert_eq!(
        name_of(&[(10, b"xx"), (0, &named(b"a")), (0xfe0d, b"ech")]),
        Some(b"a".to_vec())
    );
    assert_eq!(name_of(&[]), None);
    let without = record(&handshake(&head()));
    assert_eq!(
        read(&without),
        Ok(Some(ClientHello::default())),
        "as old clients say it"
    );
}

#[test]
fn what_is_no_tls_is_told_by_its_first_bytes() {
    for bytes in [
        &b"G"[..],
        b"SSH-2.0-OpenSSH\r\n",
        b"\0",
        // What SSL 2 began with.
        &[0x80, 0x2e, 1, 3, 1],
        &[22, 2],
        &[22, 3, 1, 0, 0],
        &[22, 3, 1, 0x40, 1],
        &[21, 3, 1, 0, 2, 1, 0],
    ] {
        assert_eq!(read(bytes), Err(Failure::NotTls), "{bytes:?}");
    }
    for bytes in [&b""[..], &[22], &[22, 3, 1, 0]] {
        assert_eq!(read(bytes), Ok(None), "{bytes:?}");
    }
}

#[test]
fn what_is_no_such_message_is_refused() {
    let alert = [21, 3, 1, 0, 2, 1, 0];
    let whole = message(&[(0, &named(b"a.example"))]);
    let of_body = |body: &[u8]| record(&handshake(body));
    let twice = [(0, &named(b"a")[..]), (0, &named(b"a"))];
    let wrong_head = |place: usize, value: u8| {
        let mut head = head();
        head[place] = value;
        of_body(&head)
    };
    let cases = [
        record(&[2, 0, 0, 1, 0]),
        // It goes on as no record, and behind its end.
        [record(&handshake(&head())[..9]), alert.to_vec()].concat(),
        record(&[&handshake(&head())[..], &[0]].concat()),
        [
            &record(&whole[5..20])[..],
            &record(&[&whole[20..], &[0]].concat()),
        ]
        .concat(),
        of_body(b"too short"),
        of_body(&[&head()[..], &[0]].concat()),
        of_body(&[&head()[..], &[0, 3, 0, 0]].concat()),
        of_body(&[&head()[..], &long(&[0, 0, 0, 9, 0])].concat()),
        of_body(&[&head()[..], &long(&[]), &[0]].concat()),
        // A session longer than there are, no cipher, half of one, no compression.
        wrong_head(34, 33),
        wrong_head(36, 0),
        wrong_head(36, 3),
        wrong_head(39, 0),
        message(&twice),
        message(&[(0, b"")]),
        message(&[(0, &long(b""))]),
        message(&[(0, &named(b""))]),
        message(&[(0, &named(b"."))]),
        message(&[(0, &named(b"two words"))]),
        message(&[(0, &named("b\u{fc}cher".as_bytes()))]),
        message(&[(0, &named(&[b'a'; 256]))]),
        message(&[(0, &[&named(b"a")[..], b"x"].concat())]),
        message(&[(0, &long(&[&[0, 0, 1, b'a', 0, 0, 1, b'b'][..]].concat()))]),
        message(&[(0, &long(&[1, 0, 1, b'a']))]),
        message(&[(16, b"")]),
        message(&[(16, &long(b""))]),
        message(&[(16, &long(b"\0"))]),
        message(&[(16, &long(b"\x03h2"))]),
        message(&[(16, &[&long(b"\x02h2")[..], b"x"].concat())]),
    ];
    for bytes in cases {
        assert_eq!(read(&bytes), Err(Failure::HelloMalformed), "{bytes:?}");
    }
}

#[test]
fn what_would_be_too_long_is_not_waited_for() {
    for head in [[1, 0xff, 0, 0], [1, 0, 0x40, 0]] {
        assert_eq!(read(&record(&head)), Err(Failure::HelloTooLong), "{head:?}");
    }
    // Short, in records that are not.
    let many: Vec<u8> = std::iter::repeat_n(record(&[1]), 4000).flatten().collect();
    let message = [record(&[1, 0, 0x3f]), record(&[0xf0]), many].concat();
    assert_eq!(read(&message[..MOST_BYTES]), Err(Failure::HelloTooLong));
}
