//! HTTP server: routes, and the middleware around them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_session::SessionMiddleware;
use actix_session::config::{CookieContentSecurity, PersistentSession, TtlExtensionPolicy};
use actix_web::App;
use actix_web::cookie::{Key, SameSite};
use actix_web::dev::{AppConfig, Server};
use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use tokio::net::TcpStream;

use super::fast_path::FastPathFactory;
use super::problem::{Fail, Problem};
use super::route::Door;
use super::routes;
use super::session_store::{ABSOLUTE, PostgresSessions};
use super::state::State;
use super::upgrade_offers::Plain;
use super::{middleware, session_race};

/// How long an idle connection stays open.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How long a client may take to close its side of a connection.
const DISCONNECT: Duration = Duration::from_secs(1);

/// Function that registers additional routes. The demonstration uses it.
pub type MoreRoutes = fn(&mut ServiceConfig);

/// Serves on a bound socket until the returned server is stopped. The caller handles signals.
pub fn listen(state: Data<State>, listener: TcpListener, more: MoreRoutes) -> io::Result<Server> {
    let (workers, head_deadline) = (state.settings.workers, state.settings.request_deadline);
    let key = Key::from(state.cookie_key().map_err(io::Error::other)?.as_slice());
    let application = move || {
        let app = App::new()
            .app_data(state.clone())
            .configure(|config| routes::configure(config, |entry| entry.door != Door::Page))
            .configure(more)
            .service(
                web::scope("")
                    .wrap(sessions(&state, key.clone()))
                    // The last `wrap` is the outermost: `overtaken` must see the cookie that the session middleware
                    // sets.
                    .wrap(from_fn(session_race::pass))
                    .configure(|config| routes::configure(config, |entry| entry.door == Door::Page))
                    .default_service(web::to(nothing_here)),
            )
            .wrap(from_fn(middleware::pass));
        FastPathFactory { app: app.into_factory(), state: state.clone() }
    };
    let builder = Server::build().workers(workers).disable_signals().shutdown_timeout(10);
    let stopping = builder.graceful_shutdown_signal();
    let address = listener.local_addr()?;
    // Build the service by hand: `HttpServer` accepts only its own connection types, not `Plain`.
    let service = move || {
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(head_deadline)
            .client_disconnect_timeout(DISCONNECT)
            .local_addr(address)
            .h1(map_config(application(), |()| AppConfig::default()));
        fn_service(connection).and_then(http)
    };
    Ok(builder.listen("gatepost", listener, service)?.run())
}

type Connection = (Plain<TcpStream>, Option<SocketAddr>);

async fn connection(stream: TcpStream) -> Result<Connection, DispatchError> {
    let peer = stream.peer_addr().ok();
    Ok((Plain::new(stream), peer))
}

async fn nothing_here() -> Result<actix_web::HttpResponse, Fail> {
    Err(Problem::of_status(StatusCode::NOT_FOUND).into())
}

fn sessions(state: &State, key: Key) -> SessionMiddleware<PostgresSessions> {
    let store = PostgresSessions { db: state.pages.clone(), clock: state.clock.clone() };
    let is_https = state.is_https();
    let lifecycle = PersistentSession::default()
        .session_ttl(actix_web::cookie::time::Duration::seconds(ABSOLUTE.num_seconds()))
        .session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest);
    SessionMiddleware::builder(store, key)
        .cookie_name(state.cookies.session.clone())
        .cookie_secure(is_https)
        .cookie_http_only(true)
        .cookie_same_site(SameSite::Lax)
        .cookie_path("/".to_owned())
        .cookie_content_security(CookieContentSecurity::Signed)
        .session_lifecycle(lifecycle)
        .build()
}
