//! A row of `publish_due` as a report.

use std::net::IpAddr;

use bigbrotr_core::{Row, StoreError};
use bigbrotr_models::{AddressPolicy, RelayUrl, address};
use bigbrotr_nips::nip66::{Draft, Measured, Place, RelayReport};
use serde_json::Value;

use super::plan;

/// A relay that is to be reported.
#[derive(Debug)]
pub struct Due {
    /// `relay.id`.
    pub relay_id: i32,
    /// The report. None: its URL is none.
    pub report: Option<Report>,
    /// The newest check, unix microseconds.
    pub checked_us: i64,
    /// `publication.documents`.
    pub documents: Vec<u8>,
    /// `created_at` of the last report.
    pub last_created_at: Option<i64>,
    /// Fingerprint of the last report.
    pub last_hash: Option<Vec<u8>>,
    /// Whether the last report is old enough to be repeated.
    pub is_elapsed: bool,
}

/// What is to be said.
#[derive(Debug)]
pub struct Report {
    /// The event.
    pub draft: Draft,
    /// Not for the public.
    pub is_private: bool,
}

impl Due {
    /// Reads a row.
    ///
    /// # Errors
    /// Where SQL and Rust disagree about the columns.
    pub fn read(row: &Row, policy: AddressPolicy) -> Result<Self, StoreError> {
        let key = row.text(1)?;
        let url = RelayUrl::from_key(key).or_else(|_| RelayUrl::parse(key, policy)).ok();
        let json = |column| -> Result<Value, StoreError> {
            Ok(row.opt_text(column)?.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default())
        };
        let (dns, geo, net) = (json(8)?, json(9)?, json(10)?);
        let measured = Measured {
            open_ms: row.opt_float(3)?,
            read_ms: row.opt_float(4)?,
            write_ms: row.opt_float(5)?,
            auth_required: row.bool(6)?,
        };
        let document = row.opt_text(7)?;
        let report = url.map(|url| Report {
            draft: RelayReport { url: &url, measured, document, place: place(&geo, &net) }.draft(),
            is_private: plan::is_private(&url) || leads_inside(&dns),
        });
        Ok(Self {
            relay_id: row.int(0)?,
            report,
            checked_us: row.bigint(2)?,
            documents: row.bytea(11)?.to_vec(),
            last_created_at: row.opt_bigint(12)?,
            last_hash: row.opt_bytea(13)?.map(<[u8]>::to_vec),
            is_elapsed: row.bool(14)?,
        })
    }

    /// The time of the report, unix seconds: that of the check, and later than the last one.
    pub fn created_at(&self) -> i64 {
        let checked_at = self.checked_us.div_euclid(1_000_000);
        self.last_created_at.map_or(checked_at, |last| checked_at.max(last.saturating_add(1)))
    }
}

fn place(geo: &Value, net: &Value) -> Place {
    let text = |name: &str| geo.get(name).and_then(Value::as_str).map(str::to_owned);
    Place {
        geohash: text("geohash"),
        accuracy_km: geo.get("accuracy_km").and_then(Value::as_f64),
        country: text("country"),
        asn: ["asn", "asn_v6"].into_iter().find_map(|name| net.get(name)?.as_i64()),
    }
}

/// Whether a public name leads to an address that is not: it would tell the public what is inside a private network.
fn leads_inside(dns: &Value) -> bool {
    let addresses = ["a", "aaaa"].into_iter().filter_map(|name| dns.get(name)?.as_array()).flatten();
    let mut addresses = addresses.filter_map(|address| address.as_str()?.parse::<IpAddr>().ok());
    addresses.any(|address| address::check(address, AddressPolicy { allow_private: false }).is_err())
}
