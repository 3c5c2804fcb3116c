//! How long the phases of a request take: noted where names are looked up and connections made.
//!
//! The client makes a connection inside the task that waits for it, so a task-local knows which request it is for.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tower_layer::Layer;
use tower_service::Service;

use crate::domain::delivery::Timings;

tokio::task_local! {
    static RUNNING: Arc<Stopwatch>;
}

/// What is known of one request so far. Of several notes the first counts.
#[derive(Debug, Default)]
pub struct Stopwatch {
    dns: OnceLock<Duration>,
    connect: OnceLock<Duration>,
    first_byte: OnceLock<Duration>,
    address: OnceLock<IpAddr>,
}

impl Stopwatch {
    /// Runs `work` with this watch: what it makes look up and connect is noted here.
    pub async fn during<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        RUNNING.scope(Arc::clone(self), work).await
    }

    /// The address that is going to be connected to.
    pub fn aims_at(&self, address: IpAddr) {
        let _ = self.address.set(address);
    }

    /// The head of the answer is there.
    pub fn answered(&self, after: Duration) {
        let _ = self.first_byte.set(after);
    }

    pub fn address(&self) -> Option<IpAddr> {
        self.address.get().copied()
    }

    /// An answer that came without a connection made came over one that was there: a look-up that ran beside it is no
    /// part of it.
    pub fn timings(&self) -> Timings {
        let (dns, connect) = (self.dns.get().copied(), self.connect.get().copied());
        let is_reused = self.first_byte.get().is_some() && connect.is_none();
        let connecting = connect.map(|both| both.saturating_sub(dns.unwrap_or_default()));
        Timings {
            dns_us: dns.filter(|_| !is_reused).map(micros),
            connect_us: connecting.map(micros),
            first_byte_us: self.first_byte.get().copied().map(micros),
        }
    }
}

fn micros(length: Duration) -> i32 {
    i32::try_from(length.as_micros()).unwrap_or(i32::MAX)
}

fn note(what: impl FnOnce(&Stopwatch)) {
    let _ = RUNNING.try_with(|watch| what(watch));
}

/// A name has been looked up, in vain where there is no address.
pub fn resolved(took: Duration, first: Option<IpAddr>) {
    note(|watch| {
        let _ = watch.dns.set(took);
        if let Some(address) = first {
            watch.aims_at(address);
        }
    });
}

/// Times the connector of the client.
#[derive(Debug, Clone, Copy)]
pub struct Timed;

impl<S> Layer<S> for Timed {
    type Service = TimedConnector<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TimedConnector(inner)
    }
}

#[derive(Debug, Clone)]
pub struct TimedConnector<S>(S);

type Connecting<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl<S, R> Service<R> for TimedConnector<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Connecting<S::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let begun = Instant::now();
        let connecting = self.0.call(request);
        Box::pin(async move {
            let made = connecting.await?;
            note(|watch| {
                let _ = watch.connect.set(begun.elapsed());
            });
            Ok(made)
        })
    }
}
