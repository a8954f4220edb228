//! Plans in tables and sentences.

use std::fmt::Write as _;

use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::api::{ConditionType, ProjectEnvironment, Reason, TABLE, find, names};
use crate::cli::cluster::Reported;
use crate::cli::error::CliError;
use crate::cli::output::{Line, Output, keys_in_words, plain};
use crate::cli::program::Program;
use crate::controller::{PlannedAction, PlannedChange, Preview};

/// Whether the binding would be ready, so far as its conditions say.
pub(super) fn is_ready(preview: &Preview) -> bool {
    find(&preview.conditions, ConditionType::Ready)
        .is_some_and(|ready| ready.status == "True" && !is_suspended(preview))
}

fn is_suspended(preview: &Preview) -> bool {
    let ready = find(&preview.conditions, ConditionType::Ready);
    ready.is_some_and(|ready| ready.reason == Reason::Suspended.as_str())
}

/// Prints plans; `is_compared` with what is there.
pub(super) fn say(previews: &[Preview], is_compared: bool, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        return output.json(&previews.iter().map(|preview| in_json(preview, is_compared)).collect());
    }
    for (place, preview) in previews.iter().enumerate() {
        let gap = if place > 0 { "\n" } else { "" };
        output.text(&format!("{gap}{}\n", headline(preview, is_compared)))?;
        if !preview.entries.is_empty() {
            let lines = preview.entries.iter().map(|entry| {
                let mut cells = vec![plain(&entry.name), plain(entry.bytes)];
                cells.extend(is_compared.then(|| plain(change(entry.change))));
                Line { cells, json: Value::Null }
            });
            let header: &[&str] = if is_compared { &["KEY", "BYTES", "CHANGE"] } else { &["KEY", "BYTES"] };
            output.list(header, lines)?;
        }
        output.text(&remarks(preview))?;
    }
    Ok(())
}

/// `SecretBinding shop/app: would create Secret app (Opaque) with 2 keys`
fn headline(preview: &Preview, is_compared: bool) -> String {
    let binding = &preview.binding;
    let secret = format!("Secret {}", binding.target_name());
    let stays = preview.entries.iter().filter(|entry| entry.change != PlannedChange::Removed).count();
    let with = || {
        let type_ = preview.secret_type.as_deref().unwrap_or("Opaque");
        format!("{secret} ({type_}) with {}", keys_in_words(stays))
    };
    let what = match preview.action {
        PlannedAction::Create | PlannedAction::Replace if !is_compared => format!("would write {}", with()),
        PlannedAction::Create => format!("would create {}", with()),
        PlannedAction::Replace => format!("would replace {}", with()),
        PlannedAction::Delete => format!("would delete {secret}"),
        PlannedAction::Keep if is_ready(preview) && !preview.entries.is_empty() => {
            format!("would leave {} as it is", with())
        }
        PlannedAction::Keep => format!("would not write {secret}"),
    };
    format!("{}: {what}", binding.standing().in_words())
}

/// What there is to know beside the keys.
fn remarks(preview: &Preview) -> String {
    let mut text = String::new();
    let others = other_changes(preview);
    if !others.is_empty() {
        let _ = writeln!(text, "  put right besides: {}", others.join(", "));
    }
    for name in &preview.deleted {
        let _ = writeln!(text, "  deleted, as the target was renamed: Secret {name}");
    }
    let ready = find(&preview.conditions, ConditionType::Ready);
    let in_sync = find(&preview.conditions, ConditionType::InSync).filter(|in_sync| in_sync.status == "False");
    let bad = ready.filter(|_| !is_ready(preview)).into_iter().chain(in_sync.filter(|_| is_ready(preview)));
    for condition in bad {
        let _ =
            writeln!(text, "  {} {} ({}): {}", condition.type_, condition.status, condition.reason, condition.message);
        if let Some(entry) = TABLE.iter().find(|entry| entry.name == condition.reason && entry.remedy != "Nothing.") {
            let remedy = entry.remedy.replace("<binding>", &preview.binding.name_any());
            let _ = writeln!(text, "  What to do: {remedy}");
        }
    }
    if ready.is_none() {
        text += "  nothing can be said: it, or its namespace, is being deleted, or what was delivered cannot be compared now\n";
    }
    text
}

/// Without the marks that say what a Secret was made from, where that is told by the keys.
fn other_changes(preview: &Preview) -> Vec<&str> {
    let is_told = preview.entries.iter().any(|entry| entry.change != PlannedChange::Unchanged);
    let marks = [names::ROWS, names::SOURCE];
    let all = preview.other_changes.iter().map(String::as_str);
    all.filter(|name| !(is_told && marks.contains(name))).collect()
}

const fn change(change: PlannedChange) -> &'static str {
    match change {
        PlannedChange::Added => "added",
        PlannedChange::Changed => "changed",
        PlannedChange::Unchanged => "unchanged",
        PlannedChange::Removed => "removed",
    }
}

const fn action(action: PlannedAction) -> &'static str {
    match action {
        PlannedAction::Keep => "keep",
        PlannedAction::Create => "create",
        PlannedAction::Replace => "replace",
        PlannedAction::Delete => "delete",
    }
}

fn in_json(preview: &Preview, is_compared: bool) -> Value {
    let entries = preview.entries.iter().map(|entry| {
        let change = is_compared.then(|| change(entry.change));
        json!({"key": entry.name, "bytes": entry.bytes, "change": change})
    });
    let standing = preview.binding.standing();
    json!({
        "namespace": standing.metadata.namespace, "name": standing.name(), "secret": preview.binding.target_name(),
        "action": action(preview.action), "compared": is_compared, "type": preview.secret_type,
        "keys": entries.collect::<Vec<_>>(), "otherChanges": other_changes(preview), "deleted": preview.deleted,
        "ready": is_ready(preview), "conditions": crate::cli::cluster::conditions_json(&preview.conditions),
    })
}

/// Prints what the cluster alone tells; whether something is in a binding's way.
pub(super) fn say_without_registry(
    previews: &[Preview],
    sources: &[ProjectEnvironment],
    program: Program,
    output: &Output,
) -> Result<bool, CliError> {
    let told: Vec<(&Preview, Vec<String>)> =
        previews.iter().map(|preview| (preview, obstacles(preview, sources, program))).collect();
    if output.is_json() {
        output.json(&told.iter().map(|(preview, obstacles)| without_registry_json(preview, obstacles)).collect())?;
    } else {
        for (preview, obstacles) in &told {
            let secret = preview.binding.target_name();
            let what = match (obstacles.is_empty(), preview.is_there) {
                (false, _) => format!("would not be delivered into Secret {secret}"),
                (true, false) => format!("nothing is in its way; Secret {secret} is not there yet"),
                (true, true) => format!("nothing is in its way; Secret {secret} is its own to write"),
            };
            output.text(&format!("{}: {what}\n", preview.binding.standing().in_words()))?;
            for obstacle in obstacles {
                output.text(&format!("  {obstacle}\n"))?;
            }
        }
        output
            .note("which keys there are, and whether they can be opened, the registry knows: tidelock plan --cluster");
    }
    Ok(told.iter().any(|(_, obstacles)| !obstacles.is_empty()))
}

fn obstacles(preview: &Preview, sources: &[ProjectEnvironment], program: Program) -> Vec<String> {
    let mut obstacles = Vec::new();
    if let Some(ready) = find(&preview.conditions, ConditionType::Ready).filter(|_| !is_ready(preview)) {
        obstacles.push(format!("Ready {} ({}): {}", ready.status, ready.reason, ready.message));
    }
    if let Some(who) = &preview.foreign {
        let entry = Reason::TargetForeign.entry();
        let remedy = entry.remedy.replace("<binding>", &preview.binding.name_any());
        obstacles.push(format!("the Secret belongs to {who}, and would not be touched. {remedy}"));
    }
    let source = sources.iter().find(|source| source.name_any() == preview.binding.spec.source_ref.name);
    if let Some(standing) = source.map(Reported::standing)
        && let Some(ready) = standing.condition(ConditionType::Ready).filter(|ready| ready.status != "True")
        && obstacles.is_empty()
    {
        let more = program.about("why", &standing);
        obstacles.push(format!("{} is not ready ({}): {more}", standing.in_words(), ready.reason));
    }
    obstacles
}

fn without_registry_json(preview: &Preview, obstacles: &[String]) -> Value {
    let standing = preview.binding.standing();
    json!({
        "namespace": standing.metadata.namespace, "name": standing.name(), "secret": preview.binding.target_name(),
        "there": preview.is_there, "obstacles": obstacles,
    })
}
