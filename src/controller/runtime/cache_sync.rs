//! Whether the caches have everything.

use std::sync::Arc;

use tokio::sync::SetOnce;

/// Which caches were filled at least once. Cheap to clone.
///
/// Not by the stores' own `wait_until_ready`: that wakes only the last of several that wait.
#[derive(Debug, Clone)]
pub(crate) struct CacheSync(Arc<[(&'static str, SetOnce<()>)]>);

impl CacheSync {
    /// Caches of these resources, none of them filled.
    pub(crate) fn of(resources: &[&'static str]) -> Self {
        Self(resources.iter().map(|resource| (*resource, SetOnce::new())).collect())
    }

    /// The cache of that resource has everything that there is.
    pub(crate) fn filled(&self, resource: &str) {
        for (_, filled) in self.0.iter().filter(|(name, _)| *name == resource) {
            // Lists that come later say nothing new.
            let _ = filled.set(());
        }
    }

    /// Comes back once all have.
    pub(crate) async fn all(&self) {
        for (_, filled) in self.0.iter() {
            filled.wait().await;
        }
    }

    /// Those that have not.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        self.0.iter().filter(|(_, filled)| !filled.initialized()).map(|(resource, _)| *resource).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_who_waits_is_woken_by_the_last_cache() {
        let caches = CacheSync::of(&["secrets", "namespaces"]);
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let caches = caches.clone();
                tokio::spawn(async move { caches.all().await })
            })
            .collect();
        tokio::task::yield_now().await;
        for resource in caches.missing() {
            assert!(waiting.iter().all(|task| !task.is_finished()));
            caches.filled(resource);
        }
        assert_eq!(caches.missing(), Vec::<&str>::new());
        for task in waiting {
            task.await.unwrap();
        }
    }
}
