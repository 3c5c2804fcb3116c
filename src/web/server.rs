//! The HTTP server: routes, and what wraps them all.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_service::IntoServiceFactory;
use actix_session::SessionMiddleware;
use actix_session::config::{CookieContentSecurity, PersistentSession, TtlExtensionPolicy};
use actix_web::cookie::{Key, SameSite};
use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, HttpServer};

use super::direct::DirectFactory;
use super::problem::{Fail, Problem};
use super::routes::{self, Door};
use super::session_store::{ABSOLUTE, PostgresSessions};
use super::state::State;
use super::{front, overtaken};

/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Routes beside the product's own: for the demonstration.
pub type MoreRoutes = fn(&mut ServiceConfig);

/// Serves on a bound socket until the returned server is stopped. Signals are the caller's business.
pub fn listen(state: Data<State>, listener: TcpListener, more: MoreRoutes) -> io::Result<Server> {
    let (workers, head_deadline) = (state.settings.workers, state.settings.request_deadline);
    let key = Key::from(state.cookie_key().map_err(io::Error::other)?.as_slice());
    let server = HttpServer::new(move || {
        let app = App::new()
            .app_data(state.clone())
            .configure(|config| routes::configure(config, |entry| entry.door != Door::Page))
            .configure(more)
            .service(
                web::scope("")
                    .wrap(sessions(&state, key.clone()))
                    .wrap(from_fn(overtaken::pass))
                    .configure(|config| routes::configure(config, |entry| entry.door == Door::Page))
                    .default_service(web::to(nothing_here)),
            )
            .wrap(from_fn(front::pass));
        DirectFactory { app: app.into_factory(), state: state.clone() }
    });
    Ok(server
        .workers(workers)
        .client_request_timeout(head_deadline)
        .keep_alive(KEEP_ALIVE)
        .disable_signals()
        .shutdown_timeout(10)
        .listen(listener)?
        .run())
}

async fn nothing_here() -> Result<actix_web::HttpResponse, Fail> {
    Err(Problem::of_status(StatusCode::NOT_FOUND).into())
}

fn sessions(state: &State, key: Key) -> SessionMiddleware<PostgresSessions> {
    let store = PostgresSessions { db: state.pages.clone(), clock: state.clock.clone() };
    let is_https = state.is_https();
    // The prefix makes browsers hold the cookie to this host, to https and to the path `/`.
    let name = if is_https { "__Host-gatepost" } else { "gatepost" };
    let lifecycle = PersistentSession::default()
        .session_ttl(actix_web::cookie::time::Duration::seconds(ABSOLUTE.num_seconds()))
        .session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest);
    SessionMiddleware::builder(store, key)
        .cookie_name(name.to_owned())
        .cookie_secure(is_https)
        .cookie_http_only(true)
        .cookie_same_site(SameSite::Lax)
        .cookie_path("/".to_owned())
        .cookie_content_security(CookieContentSecurity::Signed)
        .session_lifecycle(lifecycle)
        .build()
}
