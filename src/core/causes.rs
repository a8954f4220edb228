//! An error with what caused it, on one line: the only place that walks the chain.

use std::error::Error;

/// An error and all its causes, each once: many a library repeats the next cause in its own words.
///
/// Whoever shows an error of the network, of a driver or of a client library shows it so: alone it says "client error
/// (Connect)" or "error communicating with the server". The text is whatever those libraries say; where their errors may
/// repeat data (a parser's, a server's detail), the caller has taken that away before.
#[must_use]
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut told = one_line(&error.to_string());
    let mut next = error.source();
    while let Some(cause) = next {
        let text = one_line(&cause.to_string());
        if !told.contains(&text) {
            told = if told.is_empty() { text } else { format!("{told}: {text}") };
        }
        next = cause.source();
    }
    told
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Layered {
        #[error("client error (Connect)")]
        Silent(#[source] Box<Layered>),
        #[error("tcp connect error: {0}")]
        Repeating(#[source] io::Error),
        #[error("two\n  lines\n")]
        Lines,
    }

    #[test]
    fn every_cause_is_told_once_and_on_one_line() {
        let refused = Layered::Repeating(io::Error::other("connection refused"));
        let error = Layered::Silent(Box::new(refused));
        assert_eq!(causes(&error), "client error (Connect): tcp connect error: connection refused");
        assert_eq!(causes(&Layered::Silent(Box::new(Layered::Lines))), "client error (Connect): two lines");
        assert_eq!(causes(&io::Error::other(error)), "client error (Connect): tcp connect error: connection refused");
    }
}
