//! Bytes that the sink did not take yet.

/// Bytes of one half that are stuck between source and sink. A half owns one only while bytes are stuck.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
}

impl Buffer {
    /// Keeps a copy of `bytes`.
    #[must_use]
    pub fn holding(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.into(),
            start: 0,
        }
    }

    /// What is still to be written.
    #[must_use]
    pub fn unwritten(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Takes note that the first `count` unwritten bytes have been written.
    pub fn consume(&mut self, count: usize) {
        self.start = self.bytes.len().min(self.start + count);
    }
}
