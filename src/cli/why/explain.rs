//! From what was seen to what is to be said, purely.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

use crate::api::{ConditionType, Reason, TABLE, WrittenTarget};
use crate::cli::cluster::Standing;
use crate::cli::program::Program;

/// How long an operator that runs has, on a busy day, until it has looked at something new.
const A_MOMENT: SignedDuration = SignedDuration::from_secs(10);

/// What was seen.
pub(super) struct Seen {
    pub(super) object: Standing,
    /// Of a binding.
    pub(super) references: Option<References>,
    pub(super) now: Timestamp,
}

/// What a binding names.
pub(super) struct References {
    pub(super) source_name: String,
    pub(super) source: Looked<Standing>,
    pub(super) target_name: String,
    /// Its metadata; the data is nothing to look at.
    pub(super) target: Looked<ObjectMeta>,
    /// The Secret that the status speaks of.
    pub(super) written: Option<WrittenTarget>,
}

/// What came of a look.
pub(super) enum Looked<T> {
    Found(T),
    Absent,
    /// Why not.
    Unreadable(String),
}

impl<T> Looked<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Looked<U> {
        match self {
            Self::Found(found) => Looked::Found(change(found)),
            Self::Absent => Looked::Absent,
            Self::Unreadable(why) => Looked::Unreadable(why),
        }
    }
}

/// One thing to know.
#[derive(Debug)]
pub(super) struct Finding {
    /// What it is about.
    pub(super) about: String,
    /// The condition's, where it is about one.
    pub(super) reason: Option<String>,
    pub(super) says: String,
    pub(super) remedy: Option<String>,
    /// Whether anything is to be done or waited for.
    pub(super) is_wrong: bool,
}

impl Finding {
    fn wrong(about: &str, says: String, remedy: impl Into<String>) -> Self {
        Self { about: about.to_owned(), reason: None, says, remedy: Some(remedy.into()), is_wrong: true }
    }

    fn fine(about: &str, says: String) -> Self {
        Self { about: about.to_owned(), reason: None, says, remedy: None, is_wrong: false }
    }
}

/// What there is to say, what stands in the way of everything else first.
pub(super) fn explain(seen: &Seen, program: Program) -> Vec<Finding> {
    let Seen { object, references, now } = seen;
    let mut findings = Vec::new();
    if object.metadata.deletion_timestamp.is_some() {
        let says = "it is being deleted, and nothing is written for it any more.".to_owned();
        findings.push(Finding::wrong(object.kind.as_str(), says, "Wait until it is gone."));
    }
    findings.extend(attention(object, *now));
    findings.extend(conditions(object));
    if let Some(references) = references {
        findings.extend(source(object, references, program));
        findings.push(target(object, references));
    }
    findings
}

/// Whether an operator looks at it at all.
fn attention(object: &Standing, now: Timestamp) -> Option<Finding> {
    let about = "Operator";
    let generation = object.metadata.generation.unwrap_or_default();
    let remedy = || {
        let which = match object.class() {
            Some(class) => {
                format!("an operator of the class {class} (TIDELOCK_CLASS, from the label tidelock.dev/class)")
            }
            None => "an operator without a class (the object has no label tidelock.dev/class)".to_owned(),
        };
        format!("See that {which} runs and is ready, and what its log says.")
    };
    match object.observed_generation {
        None | Some(..=-1) => {
            let age = object.metadata.creation_timestamp.as_ref().map(|time| now.duration_since(time.0));
            let says = "no operator has looked at it yet".to_owned();
            match age {
                Some(age) if age >= A_MOMENT => {
                    let says = format!("{says}, and it is there for {}.", in_words(age));
                    Some(Finding::wrong(about, says, remedy()))
                }
                _ => Some(Finding::wrong(about, format!("{says}; it is new."), "Wait a moment.")),
            }
        }
        // A suspended object keeps the generation that was looked at.
        Some(looked_at) if looked_at < generation && !object.is_suspended => {
            let says = format!(
                "its spec was edited, and no operator has looked at it since: the status is about generation {looked_at} \
                 of {generation}."
            );
            Some(Finding::wrong(about, says, remedy()))
        }
        _ if object.asked_sync() != object.last_handled_sync.as_deref()
            && object.asked_sync().is_some()
            && !object.is_suspended =>
        {
            let says =
                "a sync was asked for by tidelock.dev/sync, and is not answered: the database does not answer the \
                        operator, or no operator runs."
                    .to_owned();
            Some(Finding::wrong(about, says, remedy()))
        }
        _ => None,
    }
}

/// What its conditions say: what keeps it from being ready, and what it is behind.
fn conditions(object: &Standing) -> Vec<Finding> {
    let ready = object.condition(ConditionType::Ready);
    let in_sync = object
        .condition(ConditionType::InSync)
        .filter(|in_sync| in_sync.status != "True" && ready.is_none_or(|ready| ready.reason != in_sync.reason));
    let mut said: Vec<Finding> = ready.map(of_condition).into_iter().collect();
    // Where it is not resolved, the comparison says why once more.
    let is_told =
        ready.is_some_and(|ready| ready.status == "True") || in_sync.is_some_and(|said| said.status == "False");
    said.extend(in_sync.filter(|_| is_told).map(of_condition));
    // Where it is ready, Ready says that in the same words.
    let is_ready = ready.is_some_and(|ready| ready.status == "True");
    let delivered = object.condition(ConditionType::Delivered).filter(|said| said.status == "True" && !is_ready);
    said.extend(delivered.map(of_condition));
    for finding in &mut said {
        finding.remedy = finding.remedy.take().map(|remedy| remedy.replace("<binding>", object.name()));
    }
    said
}

/// A condition, by the table of reasons.
fn of_condition(condition: &Condition) -> Finding {
    let entry = TABLE.iter().find(|entry| entry.name == condition.reason);
    let mut says = format!("{} ({}).", condition.status, condition.reason);
    if let Some(entry) = entry {
        says = format!("{says} {}", entry.meaning);
    }
    if !condition.message.is_empty() && entry.is_none_or(|entry| entry.meaning != condition.message) {
        says = format!("{says} The operator says: {}", condition.message);
    }
    let is_wrong = condition.status != "True" || condition.reason == Reason::Suspended.as_str();
    let remedy = match entry {
        Some(entry) => Some(entry.remedy).filter(|remedy| *remedy != "Nothing."),
        None => Some("This program does not know the reason: a newer one may."),
    };
    let remedy = remedy.filter(|_| is_wrong).map(str::to_owned);
    Finding { about: condition.type_.clone(), reason: Some(condition.reason.clone()), says, remedy, is_wrong }
}

/// What stands between it and its source.
fn source(object: &Standing, references: &References, program: Program) -> Option<Finding> {
    let about = format!("ProjectEnvironment {}", references.source_name);
    let source = match &references.source {
        Looked::Unreadable(why) => return Some(Finding::fine(&about, format!("it cannot be looked at: {why}"))),
        Looked::Absent => {
            let says = "there is none of that name.".to_owned();
            let remedy = "Correct spec.sourceRef, or have the platform team create it.";
            return Some(Finding::wrong(&about, says, remedy));
        }
        Looked::Found(source) => source,
    };
    if source.class() != object.class() {
        let class =
            |standing: &Standing| standing.class().map_or("no class".to_owned(), |class| format!("class {class}"));
        let says =
            format!("it has {}, and the binding has {}: no operator looks at both.", class(source), class(object));
        return Some(Finding::wrong(&about, says, "Give both the same label tidelock.dev/class."));
    }
    if source.is_suspended {
        let says = "it is suspended, and with it everything that is bound to it.".to_owned();
        return Some(Finding::wrong(&about, says, "Have the platform team remove its spec.suspend."));
    }
    let ready = source.condition(ConditionType::Ready);
    if ready.is_some_and(|ready| ready.status == "True") && source.is_looked_at() {
        return None;
    }
    let says = match ready {
        Some(ready) if source.is_looked_at() => of_condition(ready).says,
        _ => "no operator has looked at it as it is now.".to_owned(),
    };
    let remedy = ready.map(of_condition).and_then(|said| said.remedy);
    let remedy = remedy.unwrap_or_else(|| format!("See {}.", program.about("why", source)));
    Some(Finding::wrong(&about, says, remedy))
}

/// Whether the Secret is what the status makes one expect.
fn target(object: &Standing, references: &References) -> Finding {
    let about = format!("Secret {}", references.target_name);
    let written = references.written.as_ref().filter(|written| written.name == references.target_name);
    let metadata = match &references.target {
        Looked::Unreadable(why) => return Finding::fine(&about, format!("it cannot be looked at: {why}")),
        Looked::Absent if written.is_some() => {
            let says = "the status says that it was written, and it is not there.".to_owned();
            let remedy = "An operator that runs makes it anew within a moment; if it does not, see whether one runs.";
            return Finding::wrong(&about, says, remedy);
        }
        Looked::Absent => return Finding::fine(&about, "there is none of that name.".to_owned()),
        Looked::Found(metadata) => metadata,
    };
    let controller = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let is_ours = controller.is_some_and(|owner| Some(&owner.uid) == object.metadata.uid.as_ref());
    if metadata.deletion_timestamp.is_some() {
        let finalizers = metadata.finalizers.clone().unwrap_or_default().join(", ");
        let says = format!("it is being deleted, and waits for its finalizers: {finalizers}.");
        return Finding::wrong(&about, says, "See who set the finalizers, and why they do not go.");
    }
    let whose = match controller {
        _ if is_ours => "it is there, and this binding controls it.".to_owned(),
        Some(owner) => format!("it is there, and {} {} controls it.", owner.kind, owner.name),
        None => "it is there, and nobody controls it.".to_owned(),
    };
    Finding::fine(&about, whose)
}

/// `3 min`, `2 h`, `5 d`
fn in_words(age: SignedDuration) -> String {
    match age.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}
