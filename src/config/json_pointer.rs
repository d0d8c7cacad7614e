//! Pointers into documents of JSON (RFC 6901). Pure.

/// The names on the way to a value, unescaped; none where the text is no pointer. The empty text leads to the whole document.
#[must_use]
pub fn pointer_tokens(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let rest = text.strip_prefix('/')?;
    rest.split('/').map(unescaped).collect()
}

/// `~0` is a tilde, `~1` a slash; no other tilde is allowed.
fn unescaped(token: &str) -> Option<String> {
    let mut plain = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(next) = chars.next() {
        plain.push(match next {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_unescaped() {
        let tokens = |text| pointer_tokens(text).expect(text);
        assert!(tokens("").is_empty());
        assert_eq!(tokens("/"), [""]);
        assert_eq!(tokens("/data/ips"), ["data", "ips"]);
        assert_eq!(tokens("/a~1b/m~0n/~01"), ["a/b", "m~n", "~1"]);
        for wrong in ["data", "#/data", "/a~", "/a~2"] {
            assert_eq!(pointer_tokens(wrong), None, "{wrong}");
        }
    }
}
