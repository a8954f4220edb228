//! The regular expressions of grants and bindings: one dialect, which means the same to the API server and here.
//!
//! It is RE2 as the API server's CEL has it, without what only one of both knows or what they read differently: classes of
//! Unicode, operators within classes and classes within classes, comments and other flags than `i`, `m`, `s` and `U`, escapes
//! by number, and counts above 1,000. `\w`, `\d`, `\s` and `\b` are of ASCII. A pattern matches keys of ASCII alone: no letter
//! of another script passes for one that looks alike. Such keys are granted and bound by name. In a grant a pattern stands for
//! the whole of a key ([`KeyPattern`]); in a binding it is found in it ([`NamePattern`]), as External Secrets Operator has it.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{
    AssertionKind, Ast, ClassSetBinaryOp, ClassSetItem, Flag, FlagsItemKind, GroupKind, HexLiteralKind, Literal,
    LiteralKind, Repetition, RepetitionKind, RepetitionRange, Visitor, visit,
};

/// Largest compiled form, in bytes: grants come from people, memory is ours. Counts of thousands of letters fit.
const SIZE_MAX: usize = 1 << 18;

/// Largest count of a repetition in RE2.
const COUNT_MAX: u32 = 1_000;

/// A pattern, compiled.
#[derive(Debug, Clone)]
pub(crate) struct KeyPattern(Regex);

/// Why a text is no pattern of the dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPattern {
    #[error("it does not parse")]
    Syntax,
    #[error("it is larger than a pattern may be when it is compiled")]
    TooLarge,
    #[error("\\p and \\P are not used in patterns of keys")]
    UnicodeClass,
    #[error("a class has no operator and no class in it: write \\[ and \\& for the characters")]
    NestedClass,
    #[error("only the flags i, m, s and U are used in patterns of keys")]
    Flag,
    #[error("a character is not written by its number")]
    Numbered,
    #[error("only \\b and \\B tell ends of words")]
    WordEnd,
    #[error("nothing is repeated more than {COUNT_MAX} times")]
    Count,
    #[error("a repetition is repeated: put it in a group")]
    RepeatedRepetition,
    #[error("patterns of keys are of ASCII characters")]
    NotAscii,
}

impl KeyPattern {
    /// Compiles a pattern of the dialect.
    pub(crate) fn new(pattern: &str) -> Result<Self, InvalidPattern> {
        // Alone first: `a)|(b` must not become valid inside the group.
        check(pattern)?;
        compile(&format!(r"\A(?:{pattern})\z")).map(Self)
    }

    /// Whether it matches the whole key: `DB_.*` must not grant `ADMIN_DB_PASSWORD`.
    pub(crate) fn is_match(&self, key: &str) -> bool {
        key.is_ascii() && self.0.is_match(key.as_bytes())
    }
}

/// A pattern that is found somewhere in a key, compiled.
#[derive(Debug, Clone)]
pub(crate) struct NamePattern(Regex);

impl NamePattern {
    /// Compiles a pattern of the dialect.
    pub(crate) fn new(pattern: &str) -> Result<Self, InvalidPattern> {
        check(pattern)?;
        compile(pattern).map(Self)
    }

    /// Whether it is found anywhere in the key.
    pub(crate) fn is_found(&self, key: &str) -> bool {
        key.is_ascii() && self.0.is_match(key.as_bytes())
    }

    /// The name with `target` at each place where it is found; `$1` and `${name}` stand there for its groups.
    pub(crate) fn replace_all(&self, name: &str, target: &str) -> String {
        if !name.is_ascii() {
            return name.to_owned();
        }
        let replaced = self.0.replace_all(name.as_bytes(), target.as_bytes()).into_owned();
        String::from_utf8(replaced).unwrap_or_else(|_| name.to_owned())
    }
}

fn check(pattern: &str) -> Result<(), InvalidPattern> {
    if !pattern.is_ascii() {
        return Err(InvalidPattern::NotAscii);
    }
    let ast = Parser::new().parse(pattern).map_err(|_| InvalidPattern::Syntax)?;
    visit(&ast, Dialect)
}

fn compile(pattern: &str) -> Result<Regex, InvalidPattern> {
    RegexBuilder::new(pattern).unicode(false).size_limit(SIZE_MAX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => InvalidPattern::TooLarge,
        _ => InvalidPattern::Syntax,
    })
}

/// Looks for what is not of the dialect.
struct Dialect;

impl Visitor for Dialect {
    type Output = ();
    type Err = InvalidPattern;

    fn finish(self) -> Result<(), InvalidPattern> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), InvalidPattern> {
        match ast {
            Ast::Literal(literal) => literal_of_both(literal),
            Ast::Flags(flags) => flags_of_both(flags.flags.items.iter().map(|item| &item.kind)),
            Ast::Group(group) => match &group.kind {
                GroupKind::NonCapturing(flags) => flags_of_both(flags.items.iter().map(|item| &item.kind)),
                _ => Ok(()),
            },
            Ast::ClassUnicode(_) => Err(InvalidPattern::UnicodeClass),
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::StartLine
                | AssertionKind::EndLine
                | AssertionKind::StartText
                | AssertionKind::EndText
                | AssertionKind::WordBoundary
                | AssertionKind::NotWordBoundary => Ok(()),
                _ => Err(InvalidPattern::WordEnd),
            },
            Ast::Repetition(repetition) => repetition_of_both(repetition),
            _ => Ok(()),
        }
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), InvalidPattern> {
        match item {
            ClassSetItem::Literal(literal) => literal_of_both(literal),
            ClassSetItem::Range(range) => literal_of_both(&range.start).and_then(|()| literal_of_both(&range.end)),
            ClassSetItem::Unicode(_) => Err(InvalidPattern::UnicodeClass),
            ClassSetItem::Bracketed(_) => Err(InvalidPattern::NestedClass),
            _ => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ClassSetBinaryOp) -> Result<(), InvalidPattern> {
        Err(InvalidPattern::NestedClass)
    }
}

fn literal_of_both(literal: &Literal) -> Result<(), InvalidPattern> {
    match literal.kind {
        LiteralKind::HexFixed(HexLiteralKind::X) => Ok(()),
        LiteralKind::Octal | LiteralKind::HexBrace(_) | LiteralKind::HexFixed(_) => Err(InvalidPattern::Numbered),
        _ => Ok(()),
    }
}

fn flags_of_both<'f>(flags: impl Iterator<Item = &'f FlagsItemKind>) -> Result<(), InvalidPattern> {
    for flag in flags {
        match flag {
            FlagsItemKind::Negation
            | FlagsItemKind::Flag(
                Flag::CaseInsensitive | Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed,
            ) => {}
            FlagsItemKind::Flag(_) => return Err(InvalidPattern::Flag),
        }
    }
    Ok(())
}

fn repetition_of_both(repetition: &Repetition) -> Result<(), InvalidPattern> {
    if matches!(*repetition.ast, Ast::Repetition(_)) {
        return Err(InvalidPattern::RepeatedRepetition);
    }
    match &repetition.op.kind {
        RepetitionKind::Range(
            RepetitionRange::Exactly(count) | RepetitionRange::AtLeast(count) | RepetitionRange::Bounded(_, count),
        ) if *count > COUNT_MAX => Err(InvalidPattern::Count),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_know_is_a_pattern_and_is_of_ascii() {
        for pattern in [
            r"\w{1,64}",
            "DB_.*",
            "(?i)db_.*",
            "(?P<name>A|B)+",
            "[[:alpha:]_]+",
            r"[^\d]+",
            r"a\.b\-c",
            "A{3}B{2,}?",
            r"\bA\b",
            "",
            "(?s:.)",
            "[a-z&]+",
            r"[\[\]]",
            r"\x41+",
            "^A$",
            "[]a]",
        ] {
            let compiled = KeyPattern::new(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            assert!(!compiled.is_match("АБВ"), "{pattern} takes letters that only look like those of ASCII");
        }
        let word = KeyPattern::new(r"\w+").unwrap();
        assert_eq!((word.is_match("A_1"), word.is_match("A-1"), word.is_match("A\n")), (true, false, false));
        assert!(KeyPattern::new("(?i)db").unwrap().is_match("DB"));
    }

    #[test]
    fn what_one_of_both_does_not_know_or_reads_otherwise_is_refused_by_name() {
        use InvalidPattern::*;
        for (pattern, why) in [
            ("(", Syntax),
            ("a)|(b", Syntax),
            (r"\pL", UnicodeClass),
            (r"[\p{Cyrillic}]", UnicodeClass),
            ("[a&&b]", NestedClass),
            ("[a--b]", NestedClass),
            ("[a[bc]]", NestedClass),
            ("(?x)a b", Flag),
            ("(?u:a)", Flag),
            ("(?R)a", Flag),
            (r"\x{41}", Numbered),
            (r"\u0041", Numbered),
            (r"\<A", WordEnd),
            (r"\b{start}A", WordEnd),
            ("a{1001}", Count),
            ("a**", RepeatedRepetition),
            ("д", NotAscii),
            ("(a{1000}){1000}", TooLarge),
            (r"\Qa\E", Syntax),
            (r"\101", Syntax),
        ] {
            assert_eq!(KeyPattern::new(pattern).err(), Some(why), "{pattern}");
        }
    }
}
