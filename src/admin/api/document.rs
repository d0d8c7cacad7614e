//! The `OpenAPI` document, as it is served: without the white space that people read it by, a third of it.

const WRITTEN: &[u8] = include_bytes!("../../../docs/openapi.json");

const LENGTH: usize = squeeze(WRITTEN, &mut [0; WRITTEN.len()]);

static BYTES: [u8; LENGTH] = {
    let mut bytes = [0; LENGTH];
    squeeze(WRITTEN, &mut bytes);
    bytes
};

/// The `OpenAPI` document.
pub static DOCUMENT: &str = match str::from_utf8(&BYTES) {
    Ok(text) => text,
    // Tests read it.
    Err(_) => "",
};

/// Copies JSON without white space as far as there is room; how many bytes that are.
const fn squeeze(mut json: &[u8], mut room: &mut [u8]) -> usize {
    let (mut count, mut is_in_text, mut is_escaped) = (0, false, false);
    while let Some((&byte, rest)) = json.split_first() {
        json = rest;
        if is_in_text || !byte.is_ascii_whitespace() {
            let Some((slot, more)) = room.split_first_mut() else {
                break;
            };
            *slot = byte;
            room = more;
            count += 1;
        }
        is_in_text ^= byte == b'"' && !is_escaped;
        is_escaped = is_in_text && byte == b'\\' && !is_escaped;
    }
    count
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{DOCUMENT, squeeze};

    #[test]
    fn it_is_what_was_written_and_shorter() {
        let written = include_str!("../../../docs/openapi.json");
        let read = |text| serde_json::from_str::<Value>(text).expect("JSON");
        assert_eq!(read(DOCUMENT), read(written));
        assert!(DOCUMENT.len() < written.len() * 3 / 4);
    }

    #[test]
    fn white_space_in_texts_stays() {
        let json = br#" { "a\" b\\" : [ "c d" , 1 ] } "#;
        let mut room = vec![0; json.len()];
        let count = squeeze(json, &mut room);
        assert_eq!(&room[..count], br#"{"a\" b\\":["c d",1]}"#);
    }
}
