//! Bodies that know about their connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::activity::UnderWay;

/// The body of a request, which has to come in time.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    within: Duration,
    late: Pin<Box<Sleep>>,
}

/// Why a body did not come.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Not all of it was there in time.
    #[error("the body did not come within {0:?}")]
    Late(Duration),
    /// The connection was lost in the middle, or what came is not HTTP.
    #[error(transparent)]
    Broken(hyper::Error),
}

impl Body {
    pub(crate) fn new(incoming: Incoming, within: Duration) -> Self {
        Self { incoming, within, late: Box::pin(tokio::time::sleep_until(Instant::now() + within)) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken))),
            Poll::Pending => this.late.as_mut().poll(cx).map(|()| Some(Err(BodyError::Late(this.within)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The body of a response: until it has been sent, or the peer has gone, its request is under way.
#[derive(Debug)]
pub struct Answer<B> {
    body: B,
    _under_way: UnderWay,
}

impl<B> Answer<B> {
    pub(crate) fn new(body: B, under_way: UnderWay) -> Self {
        Self { body, _under_way: under_way }
    }
}

impl<B: http_body::Body + Unpin> http_body::Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
