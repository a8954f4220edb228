//! Of several replicas one works: the one that holds a Lease. The others wait until it leaves, or falls silent.
//!
//! The steps are those of client-go's leader election. A replica never compares its own clock with a time that another
//! one wrote: it takes a Lease that it has itself seen unchanged for as long as the holder said it is good for. So clocks may
//! be an hour apart. The Lease saves work; that nothing is written twice or backwards is held by the preconditions of each write.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::telemetry::api_error_text;

/// Where a Lease is, and how it is held.
#[derive(Debug, Clone)]
pub(crate) struct LeaseSettings {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// What this replica is called in it; no other one is called so.
    pub(crate) identity: String,
    /// For how long it is good after each renewal, in whole seconds; it is renewed three times as often.
    pub(crate) duration: Duration,
}

/// Whether this replica may work. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Leadership(watch::Receiver<bool>);

impl Leadership {
    /// Of one that asks nobody.
    pub(crate) fn always() -> Self {
        Self(watch::channel(true).1)
    }

    pub(crate) fn is_held(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is held or lost. For ever, where that never changes.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// One replica's part in the election.
pub(crate) struct Election {
    leases: Api<Lease>,
    settings: LeaseSettings,
    /// The Lease as it was last seen, and when it was first seen so.
    seen: Option<(Lease, Instant)>,
    held: watch::Sender<bool>,
}

/// The Lease could not be renewed in time, or somebody else has it.
#[derive(Debug, thiserror::Error)]
#[error("the Lease {namespace}/{name} is lost: {why}")]
pub(crate) struct LeaseLost {
    namespace: String,
    name: String,
    why: String,
}

impl Election {
    pub(crate) fn new(client: Client, settings: LeaseSettings) -> (Self, Leadership) {
        let (held, leadership) = watch::channel(false);
        let leases = Api::namespaced(client, &settings.namespace);
        (Self { leases, settings, seen: None, held }, Leadership(leadership))
    }

    /// Waits for the Lease, and holds it; comes back when it is lost.
    pub(crate) async fn run(&mut self) -> LeaseLost {
        self.acquire().await;
        tracing::info!(lease = %self.settings.name, identity = %self.settings.identity, "this replica leads");
        self.held.send_replace(true);
        let why = self.hold().await;
        self.held.send_replace(false);
        LeaseLost { namespace: self.settings.namespace.clone(), name: self.settings.name.clone(), why }
    }

    /// Leaves, so that another replica need not wait.
    pub(crate) async fn release(&mut self) {
        if !self.held.send_replace(false) {
            return;
        }
        if let Ok(Err(error)) = timeout(self.settings.duration, self.give_back()).await {
            tracing::debug!(error = %api_error_text(&error), "the Lease could not be given back; it ends by itself");
        }
    }

    async fn give_back(&mut self) -> Result<(), kube::Error> {
        // What a renewal that was broken off came to is not known.
        let Some(lease) = self.leases.get_opt(&self.settings.name).await? else { return Ok(()) };
        if holder(&lease) != Some(&*self.settings.identity) {
            return Ok(());
        }
        self.see(lease);
        let nobody = LeaseSpec { holder_identity: Some(String::new()), lease_duration_seconds: Some(1), ..self.spec() };
        self.write(nobody).await
    }

    async fn acquire(&mut self) {
        let field = format!("metadata.name={}", self.settings.name);
        let events = watcher(self.leases.clone(), watcher::Config::default().fields(&field)).default_backoff();
        let mut changes = events.touched_objects().into_stream().boxed();
        let mut is_told = false;
        loop {
            match self.try_acquire().await {
                Ok(true) => return,
                Ok(false) => {
                    if let Some((lease, _)) = &self.seen
                        && !is_told
                    {
                        let holder = holder(lease).unwrap_or_default();
                        tracing::info!(lease = %self.settings.name, holder, "another replica leads; this one waits");
                        is_told = true;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %api_error_text(&error), "cannot ask for the Lease; it is tried again");
                    sleep(self.pause()).await;
                }
            }
            tokio::select! {
                () = sleep(self.pause()) => {}
                // Somebody renewed it, or left. A watch that breaks off is only slower.
                Some(_) = changes.next() => {}
            }
        }
    }

    /// Looks at the Lease, and takes it where nobody holds it.
    async fn try_acquire(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.settings.name).await? else {
            self.seen = None;
            return is_won(self.write(self.spec()).await);
        };
        self.see(lease);
        match &self.seen {
            Some((lease, since)) if may_take(lease, &self.settings.identity, since.elapsed()) => {
                is_won(self.write(self.spec()).await)
            }
            _ => Ok(false),
        }
    }

    /// Renews it until that fails for too long; why.
    async fn hold(&mut self) -> String {
        // A third of the time is left for what runs to end.
        let patience = self.settings.duration * 2 / 3;
        let mut renewed = Instant::now();
        let mut failure = "it could not be renewed in time".to_owned();
        loop {
            sleep(if renewed.elapsed() < self.pause() { self.pause() * 2 } else { self.pause() }).await;
            let left = patience.saturating_sub(renewed.elapsed());
            if left.is_zero() {
                return failure;
            }
            let began = Instant::now();
            match timeout(left, self.write(self.spec())).await {
                Err(_) => return failure,
                Ok(Ok(())) => renewed = began,
                Ok(Err(kube::Error::Api(answer))) if answer.is_conflict() || answer.is_not_found() => {
                    match timeout(left, self.leases.get_opt(&self.settings.name)).await {
                        Ok(Ok(Some(lease))) if holder(&lease) == Some(&*self.settings.identity) => self.see(lease),
                        Ok(Ok(Some(lease))) => return format!("{} has it", holder(&lease).unwrap_or("nobody")),
                        Ok(Ok(None)) => self.seen = None,
                        Ok(Err(error)) => failure = api_error_text(&error),
                        Err(_) => return failure,
                    }
                }
                Ok(Err(error)) => failure = api_error_text(&error),
            }
        }
    }

    /// From one attempt to the next.
    fn pause(&self) -> Duration {
        self.settings.duration / 6
    }

    /// As this replica holds it from now on.
    fn spec(&self) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        let before = self.seen.as_ref().and_then(|(lease, _)| lease.spec.clone()).unwrap_or_default();
        let is_mine = before.holder_identity.as_deref() == Some(&*self.settings.identity);
        LeaseSpec {
            holder_identity: Some(self.settings.identity.clone()),
            lease_duration_seconds: i32::try_from(self.settings.duration.as_secs()).ok(),
            acquire_time: if is_mine { before.acquire_time } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(before.lease_transitions.unwrap_or_default() + i32::from(!is_mine)),
            ..LeaseSpec::default()
        }
    }

    /// Writes over the Lease that was seen, and over no other one; or makes it, if there was none.
    async fn write(&mut self, spec: LeaseSpec) -> Result<(), kube::Error> {
        let metadata = match &self.seen {
            Some((lease, _)) => lease.metadata.clone(),
            None => ObjectMeta { name: Some(self.settings.name.clone()), ..ObjectMeta::default() },
        };
        let lease = Lease { metadata, spec: Some(spec) };
        let parameters = PostParams::default();
        let written = match &self.seen {
            Some(_) => self.leases.replace(&self.settings.name, &parameters, &lease).await?,
            None => self.leases.create(&parameters, &lease).await?,
        };
        self.see(written);
        Ok(())
    }

    fn see(&mut self, lease: Lease) {
        let version = lease.resource_version();
        let since = self.seen.take().filter(|(seen, _)| seen.resource_version() == version).map(|(_, since)| since);
        self.seen = Some((lease, since.unwrap_or_else(Instant::now)));
    }
}

fn is_won(written: Result<(), kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(()) => Ok(true),
        Err(kube::Error::Api(answer))
            if answer.is_conflict() || answer.is_already_exists() || answer.is_not_found() =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// Whether a Lease that has been seen unchanged for that long is free.
fn may_take(lease: &Lease, identity: &str, unchanged: Duration) -> bool {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    match holder(lease) {
        None => true,
        Some(holder) if holder == identity => true,
        Some(_) => unchanged >= Duration::from_secs(seconds.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: Option<&str>, renewed: &str) -> Lease {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(renewed.parse().expect("a time"))),
            ..LeaseSpec::default()
        };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    #[test]
    fn a_lease_is_free_when_nobody_holds_it_or_it_was_seen_unchanged_for_its_time_whatever_a_clock_says() {
        for renewed in ["1970-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "9999-01-01T00:00:00Z"] {
            let of = |holder| lease(holder, renewed);
            let seconds = Duration::from_secs;
            assert!(may_take(&of(None), "me", seconds(0)));
            assert!(may_take(&of(Some("")), "me", seconds(0)));
            assert!(may_take(&of(Some("me")), "me", seconds(0)));
            assert!(!may_take(&of(Some("other")), "me", seconds(14)));
            assert!(may_take(&of(Some("other")), "me", seconds(15)));
        }
    }
}
