//! Sample webhook receiver on this machine, sometimes slow and sometimes failing.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::{self, Path};
use actix_web::{App, HttpResponse, HttpServer};

use crate::app::Failure;

pub struct Receiver {
    pub addr: SocketAddr,
    server: ServerHandle,
}

impl Receiver {
    pub fn start(bind: SocketAddr) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(format!("{bind}, where webhooks are to be received, can't be used: {error}"))
        };
        let listener = TcpListener::bind(bind).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let app = || App::new().service(web::resource("/{name}").route(web::post().to(receive)));
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).map_err(failed)?.run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self { addr, server: handle })
    }

    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

/// Responds depending on a counter, so that every demonstration shows some failures.
async fn receive(name: Path<String>) -> HttpResponse {
    static RECEIVED: AtomicU64 = AtomicU64::new(0);
    let number = RECEIVED.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(5 + number % 9 * 12)).await;
    match name.as_str() {
        "warehouse" if number.is_multiple_of(5) => HttpResponse::ServiceUnavailable().body("busy, come back later"),
        "analytics" if number.is_multiple_of(13) => HttpResponse::InternalServerError().body("something broke"),
        _ => HttpResponse::Ok().body("thank you"),
    }
}
