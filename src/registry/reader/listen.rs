//! Notifications, which only make a poll come earlier.

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_postgres::AsyncMessage;

use super::Reader;
use crate::registry::RegistryError;

impl Reader {
    /// Sends a hint for every notification, and one as soon as it listens, for those that were missed before. A full
    /// channel drops hints: one that waits says enough.
    ///
    /// # Errors
    /// Returns only when the connection breaks or cannot be made, with why.
    pub async fn listen(&self, hints: &mpsc::Sender<()>) -> RegistryError {
        let failed = |error| RegistryError::from_driver("listening for notifications", error);
        let (client, mut connection) = match self.listen.connect().await {
            Ok(connected) => connected,
            Err(error) => return error,
        };
        let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
        let listening = client.batch_execute("LISTEN tidelock");
        tokio::pin!(listening);
        let mut asked = false;
        loop {
            tokio::select! {
                answer = &mut listening, if !asked => match answer {
                    Ok(()) => { asked = true; let _ = hints.try_send(()); }
                    Err(error) => return failed(error),
                },
                message = messages.next() => match message {
                    Some(Ok(AsyncMessage::Notification(_))) => { let _ = hints.try_send(()); }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return failed(error),
                    None => return RegistryError::Unavailable {
                        attempt: "listening for notifications".to_owned(),
                        cause: "the connection was closed".into(),
                    },
                },
            }
        }
    }
}
