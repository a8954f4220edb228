//! What the demo prints.

use std::io::IsTerminal;

fn styled(code: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// A new step.
pub(crate) fn heading(text: &str) {
    println!("\n{}", styled("1;36", &format!("# {text}")));
}

/// A command as a person would type it.
pub(crate) fn command(text: &str) {
    println!("{}", styled("1", &format!("$ {text}")));
}

/// What a command printed.
pub(crate) fn output(text: &str) {
    for line in text.trim_end().lines() {
        println!("  {line}");
    }
}

/// What happened meanwhile.
pub(crate) fn note(text: &str) {
    println!("{}", styled("32", &format!("→ {text}")));
}
