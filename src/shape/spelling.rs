//! How names are spelled: `nameTransformer`.

use heck::{ToKebabCase, ToLowerCamelCase, ToShoutySnakeCase, ToSnakeCase, ToUpperCamelCase};

use crate::api::NameTransformer;

/// The name in that spelling. Words end at `_`, `-`, `.` and where small letters go over into capitals.
pub(super) fn spelled(name: &str, transformer: NameTransformer) -> String {
    match transformer {
        NameTransformer::UpperSnake => name.to_shouty_snake_case(),
        NameTransformer::LowerSnake => name.to_snake_case(),
        NameTransformer::Camel => name.to_lower_camel_case(),
        NameTransformer::Kebab => name.to_kebab_case(),
        // Two underscores part a section from what is in it.
        NameTransformer::Dotnet => {
            name.split("__").map(ToUpperCamelCase::to_upper_camel_case).collect::<Vec<_>>().join("__")
        }
        NameTransformer::Unknown => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_word_by_word() {
        use NameTransformer::{Camel, Dotnet, Kebab, LowerSnake, UpperSnake};
        for (name, transformer, expected) in [
            ("DATABASE_URL", UpperSnake, "DATABASE_URL"),
            ("databaseUrl", UpperSnake, "DATABASE_URL"),
            ("my-key.name", UpperSnake, "MY_KEY_NAME"),
            ("DATABASE_URL", LowerSnake, "database_url"),
            ("HTTPServer2", LowerSnake, "http_server2"),
            ("DATABASE_URL", Camel, "databaseUrl"),
            ("DATABASE_URL", Kebab, "database-url"),
            ("DATABASE__CONNECTION_URL", Dotnet, "Database__ConnectionUrl"),
            ("A", Dotnet, "A"),
            ("---", Kebab, ""),
        ] {
            assert_eq!(spelled(name, transformer), expected, "{name} {transformer:?}");
        }
    }
}
