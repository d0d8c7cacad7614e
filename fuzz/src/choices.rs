//! An input as a row of choices; when it runs out, there are no more.

/// What is left of an input.
#[derive(Debug, Clone, Copy)]
pub struct Choices<'a> {
    left: &'a [u8],
}

impl<'a> Choices<'a> {
    /// All of an input.
    pub fn new(data: &'a [u8]) -> Self {
        Self { left: data }
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, left) = self.left.split_first()?;
        self.left = left;
        Some(*first)
    }

    /// The next two bytes.
    pub fn word(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }

    /// The bytes that are left, as text; `None` if they are none.
    pub fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.left).ok()
    }

    /// The bytes that are left.
    pub fn rest(self) -> &'a [u8] {
        self.left
    }
}
