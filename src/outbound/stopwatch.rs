//! Timing of a request's phases, recorded where names are resolved and connections are made.
//!
//! The client connects inside the task that waits for it, so a task-local tells which request a connection is for.

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

/// Timings of one request so far. The first value of each phase counts.
#[derive(Debug, Default)]
pub struct Stopwatch {
    dns: OnceLock<Duration>,
    connect: OnceLock<Duration>,
    first_byte: OnceLock<Duration>,
    address: OnceLock<IpAddr>,
}

impl Stopwatch {
    /// Runs `work` with this stopwatch: look-ups and connections made in it are recorded here.
    pub async fn during<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        RUNNING.scope(Arc::clone(self), work).await
    }

    /// Records the address that will be connected to.
    pub fn aims_at(&self, address: IpAddr) {
        let _ = self.address.set(address);
    }

    /// Records the arrival of the response's head.
    pub fn answered(&self, after: Duration) {
        let _ = self.first_byte.set(after);
    }

    pub fn address(&self) -> Option<IpAddr> {
        self.address.get().copied()
    }

    /// Returns the timings. A response without a new connection used an open one. A DNS look-up that ran meanwhile
    /// does not count then.
    pub fn timings(&self) -> Timings {
        let (dns, connect) = (self.dns.get().copied(), self.connect.get().copied());
        let is_reused = self.first_byte.get().is_some() && connect.is_none();
        // The connector's time includes the DNS look-up.
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

/// Records a DNS look-up. `first` is `None` if it found no address.
pub fn resolved(took: Duration, first: Option<IpAddr>) {
    note(|watch| {
        let _ = watch.dns.set(took);
        if let Some(address) = first {
            watch.aims_at(address);
        }
    });
}

/// Layer that times the client's connector.
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
