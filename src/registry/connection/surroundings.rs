//! What a connection is told by the process it is made in.

use std::collections::HashMap;
use std::path::PathBuf;

/// Environment variables, home folder and name of whoever runs the program.
#[derive(Default)]
pub(super) struct Surroundings {
    pub(super) variables: HashMap<String, String>,
    pub(super) home: Option<PathBuf>,
    /// The user's name in the operating system.
    pub(super) user: Option<String>,
}

impl Surroundings {
    /// This process's.
    pub(super) fn of_process() -> Self {
        // What is no text is no setting that could be used.
        let variables: HashMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let (name, folder) = user_of_process().unzip();
        let home = variables.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from).or(folder);
        Self { variables, home, user: name }
    }

    /// A variable that says something.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A file in the folder where libpq looks for certificates and keys.
    pub(super) fn postgresql_file(&self, name: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(".postgresql").join(name))
    }
}

/// Name and home folder of the user that the process runs as.
fn user_of_process() -> Option<(String, PathBuf)> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2) == Some(&uid.as_str()))
            .then(|| (fields[0].to_owned(), PathBuf::from(fields.get(5).unwrap_or(&"/"))))
    })
}
