//! `.tidelock.toml`: what a work tree says about itself. It goes into version control, so it holds names only.

use std::path::Path;

use serde::Deserialize;

use crate::core::{EnvironmentName, ProjectName};

use super::error::CliError;

const FILE: &str = ".tidelock.toml";

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkTree {
    pub(super) project: Option<ProjectName>,
    /// Never production: whoever looks it up finds out and says so.
    pub(super) environment: Option<EnvironmentName>,
}

impl WorkTree {
    /// The nearest file from `folder` upwards, at most up to the root of the version control's work tree; the default
    /// where there is none.
    pub(super) fn find(folder: &Path) -> Result<Self, CliError> {
        for folder in folder.ancestors() {
            let file = folder.join(FILE);
            match std::fs::read_to_string(&file) {
                Ok(text) => return parse(&text, &file),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(CliError::failed(format!("reading {}", file.display()))(error)),
            }
            if folder.join(".git").exists() {
                break;
            }
        }
        Ok(Self::default())
    }
}

fn parse(text: &str, file: &Path) -> Result<WorkTree, CliError> {
    // The parser's error is not kept: it holds the line that it stumbled over, whatever somebody put there.
    toml::from_str(text).map_err(|error| {
        CliError::Usage(format!("{} takes `project` and `environment` only: {}", file.display(), error.message()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_counts_and_none_above_the_work_tree() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("tree/app/src");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(root.path().join(FILE), "project = 'above'").unwrap();
        assert_eq!(WorkTree::find(&deep).unwrap().project, "above".parse().ok());
        std::fs::create_dir(root.path().join("tree/.git")).unwrap();
        assert_eq!(WorkTree::find(&deep).unwrap(), WorkTree::default());
        std::fs::write(root.path().join("tree").join(FILE), "project = 'shop'\nenvironment = 'dev'").unwrap();
        let found = WorkTree::find(&deep).unwrap();
        assert_eq!((found.project, found.environment), ("shop".parse().ok(), "dev".parse().ok()));
    }

    #[test]
    fn a_file_with_anything_else_in_it_is_refused() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(FILE), "database_url = 'postgres://x'").unwrap();
        let error = WorkTree::find(root.path()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("takes `project` and `environment` only"), "{error}");
    }
}
