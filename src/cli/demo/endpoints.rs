//! Three sample endpoints behind the gate: for any key, for a scope, and for keys with an active owner.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use serde_json::{Value, json};

use crate::web::json::Json;
use crate::web::key_auth::{KeyAuth, RequiredScopes};
use crate::web::problem::{Answer, Problem};

/// Scope of the warehouse's keys.
struct InventoryWrite;

impl RequiredScopes for InventoryWrite {
    const SCOPES: &'static [&'static str] = &["inventory:write"];
}

pub fn configure(config: &mut ServiceConfig) {
    config
        .service(web::resource("/webhook/orders").route(web::post().to(orders)))
        .service(web::resource("/webhook/inventory").route(web::post().to(inventory)))
        .service(web::resource("/external/products").route(web::get().to(products)));
}

/// Accepts orders with any key.
async fn orders(keyed: KeyAuth, Json(order): Json<Value>) -> Answer {
    let name = keyed.key()?.key.name.clone();
    Ok(HttpResponse::Ok().json(json!({"status": "received", "key": name, "order": order})))
}

/// Changes the stock, with a key that has the scope `inventory:write`.
async fn inventory(keyed: KeyAuth<InventoryWrite>, Json(change): Json<Value>) -> Answer {
    let name = keyed.key()?.key.name.clone();
    Ok(HttpResponse::Ok().json(json!({"status": "updated", "key": name, "change": change})))
}

/// Lists products, with a key whose owner is an active user.
async fn products(keyed: KeyAuth) -> Answer {
    if !keyed.key()?.has_active_owner() {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "owner_inactive", "User not found or inactive").into());
    }
    let products = json!([{"sku": "A-1", "name": "Gate post", "price": "42.00"}, {"sku": "A-2", "name": "Hinge", "price": "7.50"}]);
    Ok(HttpResponse::Ok().json(json!({"products": products})))
}
