//! The messages in a stream of PostgreSQL's protocol, told by their heads alone.
//!
//! Source: "Message Formats" in PostgreSQL's manual: a byte that says the kind, four that say the length with themselves.

/// A message that went by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its kind; 0 for the first message of a client, which has none.
    pub(super) kind: u8,
    /// The first four bytes of what it says, as a number; zeros where it says less.
    pub(super) code: i32,
}

/// Follows a stream, whatever parts it comes in.
#[derive(Debug)]
pub(super) struct Frames {
    head: Vec<u8>,
    /// Bytes of the message that are still to come, once the length is known.
    left: Option<usize>,
    has_kind: bool,
}

impl Frames {
    /// From a server.
    pub(super) const fn from_server() -> Self {
        Self { head: Vec::new(), left: None, has_kind: true }
    }

    /// From a client, whose first message has no kind.
    pub(super) const fn from_client() -> Self {
        Self { head: Vec::new(), left: None, has_kind: false }
    }

    /// Takes in what went by, and answers the messages that are complete now.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Vec<Frame> {
        let mut complete = Vec::new();
        while !bytes.is_empty() {
            let prefix = if self.has_kind { 5 } else { 4 };
            let Some(left) = self.left else {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                if self.head.len() == prefix {
                    let length = number(&self.head[prefix - 4..]);
                    self.left = Some(usize::try_from(length).unwrap_or_default().saturating_sub(4));
                    self.end_of_message(&mut complete);
                }
                continue;
            };
            let (part, rest) = bytes.split_at(left.min(bytes.len()));
            let wanted = (prefix + 4).saturating_sub(self.head.len()).min(part.len());
            self.head.extend(&part[..wanted]);
            self.left = Some(left - part.len());
            bytes = rest;
            self.end_of_message(&mut complete);
        }
        complete
    }

    fn end_of_message(&mut self, complete: &mut Vec<Frame>) {
        if self.left == Some(0) {
            let prefix = if self.has_kind { 5 } else { 4 };
            let kind = if self.has_kind { self.head[0] } else { 0 };
            complete.push(Frame { kind, code: number(&self.head[prefix..]) });
            self.head.clear();
            (self.left, self.has_kind) = (None, true);
        }
    }
}

fn number(bytes: &[u8]) -> i32 {
    bytes.get(..4).and_then(|four| four.try_into().ok()).map_or(0, i32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_in_whatever_parts_they_come() {
        let stream = b"R\0\0\0\x0c\0\0\0\x05saltR\0\0\0\x08\0\0\0\0S\0\0\0\x06a\0Z\0\0\0\x05I1\0\0\0\x04";
        let expected = [(b'R', 5), (b'R', 0), (b'S', 0), (b'Z', 0), (b'1', 0)].map(|(kind, code)| Frame { kind, code });
        for size in [1, 2, 3, 7, stream.len()] {
            let mut frames = Frames::from_server();
            let found: Vec<Frame> = stream.chunks(size).flat_map(|part| frames.take(part)).collect();
            assert_eq!(found, expected, "in parts of {size}");
        }
        let mut frames = Frames::from_client();
        let found = frames.take(b"\0\0\0\x0a\0\x03\0\0u\0Q\0\0\0\x05\0S\0\0\0\x04");
        assert_eq!(found.iter().map(|frame| frame.kind).collect::<Vec<_>>(), [0, b'Q', b'S']);
    }
}
