//! `nip66_geo`: where the address of a relay is.

use std::net::IpAddr;

use bigbrotr_utils::GeoIp;
use geohash::Coord;

use super::{Fact, Members};

/// Characters of a geohash: nine are five metres, more than any database knows.
const GEOHASH: usize = 9;

/// Of the address connected to, else the first that is known.
pub fn fact(connected: Option<IpAddr>, resolved: &[IpAddr], geo: &GeoIp) -> Option<Fact> {
    let ip = connected.or_else(|| resolved.first().copied())?;
    let place = geo.place(ip)?;
    let mut members = Members::default();
    members.set("ip", Some(ip.to_string()));
    members.set("country", place.country);
    members.set("country_name", place.country_name);
    members.set("continent", place.continent);
    members.set("is_eu", place.is_eu);
    members.set("region", place.region);
    members.set("city", place.city);
    members.set("postal", place.postal);
    members.set("latitude", place.latitude);
    members.set("longitude", place.longitude);
    members.set("accuracy_km", place.accuracy_km);
    members.set("time_zone", place.time_zone);
    members.set("geoname_id", place.geoname_id);
    if let (Some(y), Some(x)) = (place.latitude, place.longitude) {
        members.set("geohash", geohash::encode(Coord { x, y }, GEOHASH).ok());
    }
    Fact::new("nip66_geo", members)
}
