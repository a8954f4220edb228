//! CRLF is one line break, on every text that comes in.

/// Makes every CRLF an LF, in place: no copy of what may be secret stays behind outside of the buffer, which its owner wipes.
pub(super) fn unify_line_breaks(text: &mut Vec<u8>) {
    let mut kept = 0;
    for at in 0..text.len() {
        if !text[at..].starts_with(b"\r\n") {
            text[kept] = text[at];
            kept += 1;
        }
    }
    text.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_of_either_kind_is_one_and_a_carriage_return_alone_stays() {
        for (given, kept) in
            [("a\r\nb\nc", "a\nb\nc"), ("\r\n\r\n", "\n\n"), ("a\r", "a\r"), ("\ra\r\r\n", "\ra\r\n"), ("", "")]
        {
            let mut text = given.as_bytes().to_vec();
            unify_line_breaks(&mut text);
            assert_eq!(text, kept.as_bytes(), "{given:?}");
        }
    }
}
