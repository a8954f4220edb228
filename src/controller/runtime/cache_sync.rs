//! Whether the caches have everything.

use std::sync::Arc;

use tokio::sync::SetOnce;

/// Which caches were filled at least once. Cheap to clone.
///
/// Not by the stores' own `wait_until_ready`: that wakes only the last of several that wait.
#[derive(Debug, Clone)]
pub(crate) struct CacheSync(Arc<[(&'static str, SetOnce<()>); 4]>);

impl Default for CacheSync {
    fn default() -> Self {
        let caches = ["secretbindings", "projectenvironments", "secrets", "namespaces"];
        Self(Arc::new(caches.map(|cache| (cache, SetOnce::new()))))
    }
}

impl CacheSync {
    /// That cache has everything that there is.
    pub(crate) fn filled(&self, cache: &str) {
        for (_, filled) in self.0.iter().filter(|(name, _)| *name == cache) {
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
        self.0.iter().filter(|(_, filled)| !filled.initialized()).map(|(cache, _)| *cache).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_who_waits_is_woken_by_the_last_cache() {
        let synced = CacheSync::default();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let synced = synced.clone();
                tokio::spawn(async move { synced.all().await })
            })
            .collect();
        tokio::task::yield_now().await;
        for cache in synced.missing() {
            assert!(waiting.iter().all(|task| !task.is_finished()));
            synced.filled(cache);
        }
        assert_eq!(synced.missing(), Vec::<&str>::new());
        for task in waiting {
            task.await.unwrap();
        }
    }
}
