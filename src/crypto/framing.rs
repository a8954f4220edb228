//! Several fields as one string of bytes that can be taken apart in one way only.

/// The length of a field, as it stands in front of it: 8 bytes, big-endian.
pub(super) fn length_prefix(field: &[u8]) -> [u8; 8] {
    // No platform has a usize of more than 64 bits.
    (field.len() as u64).to_be_bytes()
}

/// Each field with its length in front, one after the other.
///
/// Without the lengths, project `ab` with key `c` would look like project `a` with key `bc`.
pub(super) fn frame(fields: &[&[u8]]) -> Vec<u8> {
    let length = fields.iter().map(|field| 8 + field.len()).sum();
    let mut framed = Vec::with_capacity(length);
    for field in fields {
        framed.extend_from_slice(&length_prefix(field));
        framed.extend_from_slice(field);
    }
    framed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes framed fields apart again.
    fn unframe(mut framed: &[u8]) -> Vec<Vec<u8>> {
        let mut fields = Vec::new();
        while let Some((length, rest)) = framed.split_first_chunk::<8>() {
            let (field, rest) = rest.split_at(usize::try_from(u64::from_be_bytes(*length)).unwrap());
            fields.push(field.to_vec());
            framed = rest;
        }
        assert!(framed.is_empty());
        fields
    }

    #[test]
    fn a_field_is_its_length_in_eight_bytes_and_itself() {
        assert_eq!(frame(&[b"ab", b""]), b"\0\0\0\0\0\0\0\x02ab\0\0\0\0\0\0\0\0");
    }

    proptest! {
        #[test]
        fn fields_can_be_told_apart_again(fields: Vec<Vec<u8>>) {
            let slices: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(unframe(&frame(&slices)), fields);
        }
    }
}
