//! Notices a connection on which nobody asks for anything: HTTP/2 has pings that keep it open, and no end of its own.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use http::Response;
use tokio::{sync::watch, time::timeout};

/// The requests of a connection that are under way.
#[derive(Clone)]
pub(super) struct Requests(Arc<watch::Sender<usize>>);

/// One request, from its head to the end of its answer.
pub(super) struct UnderWay(Requests);

impl Default for Requests {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Requests {
    pub(super) fn begin(&self) -> UnderWay {
        self.0.send_modify(|count| *count += 1);
        UnderWay(self.clone())
    }

    /// Ready once there was none for so long.
    pub(super) async fn none_for(&self, time: Duration) {
        let mut count = self.0.subscribe();
        loop {
            // The sender lives as long as this does, so these only end when the count is so.
            let _ = count.wait_for(|count| *count == 0).await;
            if timeout(time, count.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl UnderWay {
    /// Ends it with the answer's body.
    pub(super) fn until_sent(self, response: Response<Body>) -> Response<Body> {
        response.map(|body| Body::new(Counted { body, _under_way: self }))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// A body with something that lives as long as it does.
struct Counted {
    body: Body,
    _under_way: UnderWay,
}

impl http_body::Body for Counted {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_connection_is_idle_once_its_last_answer_was_sent_for_long() {
        let requests = Requests::default();
        let (first, second) = (requests.begin(), requests.begin());
        assert!(timeout(2 * TIME, requests.none_for(TIME)).await.is_err(), "two are under way");
        drop(first);
        let answer = second.until_sent(Response::new(Body::from("ok")));
        assert!(timeout(2 * TIME, requests.none_for(TIME)).await.is_err(), "one is being sent");
        drop(answer);
        assert!(timeout(TIME / 4, requests.none_for(TIME)).await.is_err(), "not for long");
        timeout(100 * TIME, requests.none_for(TIME)).await.unwrap();
    }
}
