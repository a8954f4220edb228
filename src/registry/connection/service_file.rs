//! The file of services, as libpq's manual has it under "The Connection Service File".

use std::fs;
use std::io;
use std::path::PathBuf;

use super::keywords::find;
use super::parse::Pair;
use super::surroundings::Surroundings;

/// Where the system's file is, where `PGSYSCONFDIR` does not say it: libpq has a folder of its build here, and this is
/// Debian's.
const SYSTEM_FOLDER: &str = "/etc/postgresql-common";

/// The options of a service, from the file that is named, or else from one's own and then from the system's.
///
/// The error says what cannot be used, and never a value.
pub(super) fn options(
    service: &str,
    named: Option<&str>,
    surroundings: &Surroundings,
) -> Result<(PathBuf, Vec<Pair>), String> {
    let own = match named {
        Some(file) => Some(PathBuf::from(file)),
        None => surroundings.home.as_ref().map(|home| home.join(".pg_service.conf")),
    };
    let system = surroundings.variable("PGSYSCONFDIR").unwrap_or(SYSTEM_FOLDER);
    let files = own.into_iter().chain([PathBuf::from(system).join("pg_service.conf")]);
    let mut looked = Vec::new();
    for file in files {
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && (named.is_none() || !looked.is_empty()) => {
                looked.push(file.display().to_string());
                continue;
            }
            Err(error) => return Err(format!("the service file {} cannot be read: {error}", file.display())),
        };
        match read(&text, service) {
            Ok(Some(pairs)) => return Ok((file, pairs)),
            Ok(None) => looked.push(file.display().to_string()),
            Err((line, why)) => return Err(format!("the service file {}, line {line}: {why}", file.display())),
        }
    }
    Err(format!("there is no service of that name in {}", looked.join(" or ")))
}

/// The options under `[service]`; with the number of the line that cannot be read, and why.
fn read(text: &str, service: &str) -> Result<Option<Vec<Pair>>, (usize, &'static str)> {
    let mut found: Option<Vec<Pair>> = None;
    let mut is_ours = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(group) = line.strip_prefix('[') {
            if is_ours {
                break;
            }
            is_ours = group.strip_suffix(']') == Some(service);
            if is_ours {
                found = Some(Vec::new());
            }
            continue;
        }
        let Some(pairs) = found.as_mut().filter(|_| is_ours) else { continue };
        if line.starts_with("ldap") {
            return Err((number, "a service is not looked up by LDAP here: write its options into the file"));
        }
        let (name, value) = line.split_once('=').ok_or((number, "it is no keyword=value"))?;
        if matches!(name, "service" | "servicefile") {
            return Err((number, "a service does not name another one"));
        }
        let keyword = find(name).ok_or((number, "it is none of libpq's options"))?;
        pairs.push((keyword, value.to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# services\n[other]\nhost=elsewhere\n\n[shop]\n  host=db.internal \nport=6432\npassword=h4nter2\n# [none]\n[last]\nnonsense\n";

    fn told(text: &str, service: &str) -> Result<Option<Vec<String>>, (usize, &'static str)> {
        let told =
            |pairs: Vec<Pair>| pairs.into_iter().map(|(keyword, value)| format!("{}={value}", keyword.name)).collect();
        read(text, service).map(|found| found.map(told))
    }

    #[test]
    fn a_service_has_the_options_under_its_name_and_no_others() {
        let shop = ["host=db.internal", "port=6432", "password=h4nter2"].map(str::to_owned).to_vec();
        assert_eq!(told(FILE, "shop"), Ok(Some(shop)));
        assert_eq!(told(FILE, "other"), Ok(Some(vec!["host=elsewhere".to_owned()])));
        assert_eq!(told(FILE, "sho"), Ok(None));
        for (text, line) in [
            ("[s]\nnonsense", 2),
            ("[s]\nsslmod=x", 2),
            ("[s]\n\nservice=t", 3),
            ("[s]\nldap://h/x", 2),
            ("[s]\n a = b", 2),
        ] {
            assert_eq!(told(text, "s").unwrap_err().0, line, "{text}");
        }
    }

    #[test]
    fn ones_own_file_goes_before_the_systems_and_one_that_is_named_has_to_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::write(path.join("pg_service.conf"), "[shop]\nhost=systems\n[only]\nhost=here\n").unwrap();
        let surroundings = Surroundings {
            variables: [("PGSYSCONFDIR".to_owned(), path.display().to_string())].into(),
            home: Some(path.join("home")),
            user: None,
        };
        let host = |service: &str, named: Option<&str>| {
            let (_, pairs) = options(service, named, &surroundings)?;
            Ok::<_, String>(pairs.into_iter().map(|(_, value)| value).collect::<String>())
        };
        assert_eq!(host("shop", None).as_deref(), Ok("systems"));
        fs::create_dir(path.join("home")).unwrap();
        fs::write(path.join("home/.pg_service.conf"), "[shop]\nhost=own\n").unwrap();
        assert_eq!(host("shop", None).as_deref(), Ok("own"));
        assert_eq!(host("only", None).as_deref(), Ok("here"));
        let missing = path.join("named").display().to_string();
        assert!(host("shop", Some(&missing)).unwrap_err().contains("cannot be read"));
        assert!(host("none", None).unwrap_err().contains("no service of that name"));
    }
}
