//! How the command was called: `tidelock`, or `kubectl tidelock`, which is the same file under the name of a plugin.

use std::ffi::OsStr;
use std::path::Path;

use super::cluster::{ObjectKind, Standing};

/// The name that kubectl looks for.
const PLUGIN: &str = "kubectl-tidelock";

/// How the command was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Tidelock,
    /// By kubectl, with the rights in the cluster that its user has, and nothing else.
    Kubectl,
}

impl Program {
    /// By the name that it was started under.
    pub(super) fn of(started_as: Option<&OsStr>) -> Self {
        let file = started_as.map(Path::new).and_then(Path::file_stem);
        if file.is_some_and(|file| file == PLUGIN) { Self::Kubectl } else { Self::Tidelock }
    }

    /// As one would type it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tidelock => "tidelock",
            Self::Kubectl => "kubectl tidelock",
        }
    }

    /// A verb about an object, to be pasted.
    pub(super) fn about(self, verb: &str, object: &Standing) -> String {
        let namespace = match (object.kind, &object.metadata.namespace) {
            (ObjectKind::SecretBinding, Some(namespace)) => format!(" -n {namespace}"),
            _ => String::new(),
        };
        format!("{} {verb} {}/{}{namespace}", self.name(), object.kind.short(), object.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_was_started_says_how_it_was_called() {
        let of = |started: &str| Program::of(Some(OsStr::new(started)));
        for started in ["kubectl-tidelock", "/usr/local/bin/kubectl-tidelock", "./kubectl-tidelock.exe"] {
            assert_eq!(of(started), Program::Kubectl, "{started}");
        }
        for started in ["tidelock", "/opt/kubectl-tidelock/tidelock", "kubectl-tidelock-old", ""] {
            assert_eq!(of(started), Program::Tidelock, "{started}");
        }
        assert_eq!(Program::of(None), Program::Tidelock);
    }
}
