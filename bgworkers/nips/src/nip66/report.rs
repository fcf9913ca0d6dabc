//! What is known of one relay (kind 30166).

use bigbrotr_models::RelayUrl;

use super::{Draft, REPORT_KIND, document, labels, tag, text};
use crate::nip11::{Limitation, RelayInformation};

/// Largest document that goes along. Relays commonly take events of 64 kB, and quotes in a string cost a byte more.
const MAX_CONTENT: usize = 32 << 10;

/// Milliseconds that were measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measured {
    /// To an open WebSocket.
    pub open_ms: Option<f64>,
    /// From REQ to its first answer.
    pub read_ms: Option<f64>,
    /// From EVENT to OK.
    pub write_ms: Option<f64>,
    /// Whether a REQ was refused with `auth-required:`, whatever the document says.
    pub auth_required: bool,
}

/// Where the address that answered is, by a GeoIP database: a guess at the city, and of a proxy where there is one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Place {
    /// In lower case.
    pub geohash: Option<String>,
    /// How far off it may be, km.
    pub accuracy_km: Option<f64>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Number of the autonomous system.
    pub asn: Option<i64>,
}

/// A report. Every part but the URL may be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct RelayReport<'a> {
    /// The relay.
    pub url: &'a RelayUrl,
    /// Round-trip times of the newest check.
    pub measured: Measured,
    /// Its NIP-11 document as JSON.
    pub document: Option<&'a str>,
    /// Where it is.
    pub place: Place,
}

impl RelayReport<'_> {
    /// The event: one value a tag, all of them strings, in an order that depends on nothing but the values.
    pub fn draft(&self) -> Draft {
        let mut tags = vec![tag("d", self.url.with_root_slash()), tag("n", self.url.network().as_str())];
        let times = [
            ("rtt-open", self.measured.open_ms),
            ("rtt-read", self.measured.read_ms),
            ("rtt-write", self.measured.write_ms),
        ];
        tags.extend(times.into_iter().filter_map(|(name, ms)| Some(tag(name, milliseconds(ms?)?))));
        let json = self.document.unwrap_or_default();
        let information = RelayInformation::parse(json).unwrap_or_default();
        let document = document::parse(json);
        tags.extend(document::nips(&information.supported_nips, &document));
        tags.extend(self.requirements(&information.limitation));
        tags.extend(document::kinds(&document));
        tags.extend(document::topics(&document));
        let precision = precision(self.place.accuracy_km);
        tags.extend(self.place.geohash.iter().flat_map(|geohash| text::geohash_tags(geohash, precision)));
        tags.extend(labels::tags(labels::COUNTRY, self.place.country.as_deref().and_then(labels::country)));
        tags.extend(document::languages(&document));
        let system = self.place.asn.filter(|asn| (1..=i64::from(u32::MAX)).contains(asn));
        tags.extend(labels::tags(labels::AUTONOMOUS_SYSTEM, system.map(|asn| format!("AS{asn}"))));
        let content = if json.len() <= MAX_CONTENT { text::portable(json) } else { String::new() };
        Draft { kind: REPORT_KIND, tags, content }
    }

    /// `R`, only of what is known. A probe counts more than a document.
    fn requirements(&self, limitation: &Limitation) -> impl Iterator<Item = Vec<String>> {
        let auth = if self.measured.auth_required { Some(true) } else { limitation.auth_required };
        let known = [
            ("auth", auth),
            ("payment", limitation.payment_required),
            ("writes", limitation.restricted_writes),
            ("pow", limitation.min_pow_difficulty.map(|bits| bits > 0)),
        ];
        known
            .into_iter()
            .filter_map(|(name, needed)| Some(tag("R", format!("{}{name}", if needed? { "" } else { "!" }))))
    }
}

/// Whole milliseconds, at least one: what was measured took some time.
fn milliseconds(ms: f64) -> Option<String> {
    (ms.is_finite() && ms >= 0.0).then(|| format!("{:.0}", ms.round().clamp(1.0, 86_400_000.0)))
}

/// Characters of a geohash whose cell is not finer than the place is known. Without a word on that: a cell of 39 × 20 km.
fn precision(accuracy_km: Option<f64>) -> usize {
    match accuracy_km {
        None => 4,
        Some(km) if km <= 5.0 => 5,
        Some(km) if km <= 40.0 => 4,
        Some(km) if km <= 160.0 => 3,
        Some(km) if km <= 1250.0 => 2,
        Some(_) => 1,
    }
}
