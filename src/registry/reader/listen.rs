//! Notifications, which only make a poll come earlier.

use std::time::Duration;

use tokio::sync::mpsc;

use super::Reader;
use crate::registry::RegistryError;

/// How often the server is asked for a sign of life: one that owes nothing could be silent for ever.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

impl Reader {
    /// Sends a hint for every notification, and one as soon as it listens, for those that were missed before. A full
    /// channel drops hints: one that waits says enough.
    ///
    /// # Errors
    /// Returns only when the connection breaks, cannot be made or gives no sign of life any more, with why.
    pub async fn listen(&self, hints: &mpsc::Sender<()>) -> RegistryError {
        let attempt = "listening for notifications";
        let before = self.listen.in_force();
        let link = match self.listen.connect_to_listen(hints.clone()).await {
            Ok(link) => link,
            Err(error) => return error,
        };
        if let Err(error) = link.batch_execute("LISTEN tidelock").await {
            return link.explain(attempt, error);
        }
        let _ = hints.try_send(());
        loop {
            tokio::time::sleep(SIGN_OF_LIFE).await;
            if self.listen.in_force().is_some_and(|now| before.as_ref() != Some(&now)) {
                return RegistryError::Unavailable {
                    attempt: attempt.to_owned(),
                    cause: "the connection's settings were replaced".into(),
                };
            }
            if let Err(error) = link.batch_execute("").await {
                return link.explain(attempt, error);
            }
        }
    }
}
