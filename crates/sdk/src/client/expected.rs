//! Submissions that the receiver knows of before their webhook can arrive.

use std::{fmt, pin::Pin};

use http::HeaderMap;

use super::{
    Client,
    error::ClientError,
    source::FileSource,
    submit::{Accepted, Content, Submit, UploadUrl, WithContent, mark_fresh},
};
use crate::{receiver::PendingSet, scan::Scan};

/// A [`Submit`] whose scan is in the receiver's pending set before its bytes are sent.
#[must_use = "nothing is sent until it is awaited"]
pub struct Expected<A> {
    submit: Submit<A>,
    pending: PendingSet,
}

impl<A: WithContent> Submit<A> {
    /// Adds the scan to a receiver's pending set, durably, before the service has anything to tell of it: the file goes by an upload
    /// URL, which gives the id first. Such a scan has no file name, and no `Idempotency-Key`. A link's id comes with the answer, so it
    /// is added then; the receiver asks a webhook that is quicker to come again.
    ///
    /// ```no_run
    /// # async fn submit(client: filesafety::Client, receiver: filesafety::receiver::Receiver, avatar: Vec<u8>)
    /// #     -> Result<(), filesafety::ClientError> {
    /// let accepted = client
    ///     .scan_async(avatar)
    ///     .webhook_url("https://app.example.com/webhooks/filesafety")
    ///     .expected_by(&receiver.pending())
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn expected_by(self, pending: &PendingSet) -> Expected<A> {
        Expected { submit: self, pending: pending.clone() }
    }
}

/// A scan that is in the pending set.
enum Added {
    /// Its bytes can go.
    Place(UploadUrl, FileSource, HeaderMap),
    /// It is under way.
    Link(Accepted),
}

impl<A: WithContent> Expected<A> {
    async fn add(self) -> Result<(Client, Added), ClientError> {
        let Self { submit, pending } = self;
        let client = submit.client.clone();
        let added = match submit.content {
            Content::File(_) if submit.idempotency_key.is_some() => {
                return Err(ClientError::unsendable("a file that goes by an upload URL has no Idempotency-Key"));
            }
            Content::File(file) => {
                let place = Submit::<UploadUrl> { fields: submit.fields, ..client.upload_url() }.await?;
                let mut headers = HeaderMap::new();
                mark_fresh(&mut headers, submit.fresh);
                Added::Place(place, file, headers)
            }
            Content::Url(_) | Content::Nothing => Added::Link(submit.answered_as::<Accepted>().await?),
        };
        let scan_id = match &added {
            Added::Place(place, ..) => &place.scan_id,
            Added::Link(accepted) => &accepted.scan_id,
        };
        let unregistered = |cause| ClientError::Unregistered { scan_id: scan_id.clone(), cause: Box::new(cause) };
        pending.add(scan_id).await.map_err(unregistered)?;
        Ok((client, added))
    }
}

type Sending<A> = Pin<Box<dyn Future<Output = Result<A, ClientError>> + Send>>;

impl IntoFuture for Expected<Scan> {
    type Output = Result<Scan, ClientError>;
    type IntoFuture = Sending<Scan>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (client, added) = self.add().await?;
            match added {
                Added::Place(place, file, headers) => client.upload_with(&place, file, headers).await,
                Added::Link(accepted) => client.wait(&accepted.scan_id, client.0.verdict_within).await,
            }
        })
    }
}

impl IntoFuture for Expected<Accepted> {
    type Output = Result<Accepted, ClientError>;
    type IntoFuture = Sending<Accepted>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (client, added) = self.add().await?;
            match added {
                Added::Place(place, file, headers) => client.upload_async_with(&place, file, headers).await,
                Added::Link(accepted) => Ok(accepted),
            }
        })
    }
}

impl<A> fmt::Debug for Expected<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expected").field("submit", &self.submit).finish_non_exhaustive()
    }
}
