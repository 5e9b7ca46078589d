//! `/api/bans`: the addresses that are banned for what they did. `/api/hindered`: the users that took more
//! than they may.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use edge::{BanView, HinderedView};

use super::{Admin, answer::Failure};

/// Addresses that are banned now; of very many, some.
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Json<Vec<BanView>> {
    Json(admin.server.bans())
}

/// Which users took more than they may within the last hour; of very many, some.
pub(super) async fn hindered(State(admin): State<Arc<Admin>>) -> Json<Vec<HinderedView>> {
    Json(admin.server.hindered())
}

/// Ends the bans of an address; tells which.
pub(super) async fn lift(
    State(admin): State<Arc<Admin>>,
    Path(address): Path<String>,
) -> Result<Json<Vec<BanView>>, Failure> {
    // As it is listed: the network of an IPv6 address.
    let bare = address.strip_suffix("/64").unwrap_or(&address);
    let Ok(address) = bare.parse::<IpAddr>() else {
        let error = format!("{address} is no IP address: give one as /api/bans lists it");
        return Err(Failure::new(StatusCode::BAD_REQUEST, error));
    };
    match admin.server.lift_bans(address) {
        lifted if lifted.is_empty() => {
            Err(Failure::new(StatusCode::NOT_FOUND, format!("{address} is not banned")))
        }
        lifted => Ok(Json(lifted)),
    }
}
