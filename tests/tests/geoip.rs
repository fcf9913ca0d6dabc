//! Files of places and owners of addresses, also those that are no such files.

use std::{fs, net::IpAddr};

use bigbrotr_tests::mmdb::Mmdb;
use bigbrotr_utils::{GeoIp, geoip::Notice};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use serde_json::json;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn cities() -> Vec<u8> {
    let record = json!({
        "city": {"geoname_id": 1, "names": {"en": "A city of more than twenty-nine bytes"}},
        "country": {"iso_code": "DE", "names": {"en": "Germany"}},
        "location": {"latitude": -33.9, "longitude": 151.2, "accuracy_radius": 1000},
        "subdivisions": [{"names": {"en": "first"}}, {"names": {"en": "second"}}],
    });
    Mmdb::new("GeoLite2-City")
        .with("192.0.2.0/24", &record)
        .with("2001:db8::/32", &json!({"country": {"iso_code": "FR"}}))
        .with("198.51.100.0/24", &json!({}))
        .build()
}

fn loaded(city: &[u8]) -> (tempfile::NamedTempFile, GeoIp, Vec<Notice>) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), city).expect("written");
    let geo = GeoIp::new(Some(&file.path().to_string_lossy()), None);
    let notices = geo.refresh(|_| true);
    (file, geo, notices)
}

#[test]
fn addresses_of_both_families_are_found_and_others_are_not() {
    let (_file, geo, notices) = loaded(&cities());
    assert!(matches!(&notices[..], [Notice::Loaded(_)]), "{notices:?}");
    let place = geo.place(ip("192.0.2.77")).expect("known");
    assert_eq!(place.country.as_deref(), Some("DE"));
    assert_eq!(place.region.as_deref(), Some("first"));
    assert_eq!((place.latitude, place.longitude, place.accuracy_km), (Some(-33.9), Some(151.2), Some(1000)));
    assert_eq!((place.is_eu, place.geoname_id, place.postal), (Some(false), Some(1), None));
    assert_eq!(geo.place(ip("2001:db8::1")).and_then(|place| place.country).as_deref(), Some("FR"));
    for unknown in ["192.0.3.1", "2001:db9::1", "::1", "198.51.100.1"] {
        assert_eq!(geo.place(ip(unknown)), None, "{unknown}");
    }
    assert!(geo.has_city().is_ok());
    assert_eq!(geo.has_asn(), Err("bigbrotr.geoip_asn_file is not set".into()));
    assert_eq!(geo.owner(ip("192.0.2.77")), None);
}

#[test]
fn a_file_is_read_when_it_changes_and_a_bad_one_keeps_the_old() {
    let (file, geo, _) = loaded(&cities());
    assert_eq!(geo.refresh(|_| true), [], "nothing changed");
    let known = || geo.place(ip("192.0.2.77")).is_some();
    fs::write(file.path(), &cities()[..100]).expect("cut short");
    assert!(matches!(&geo.refresh(|_| true)[..], [Notice::Failed(_)]));
    assert!(known() && geo.has_city().is_ok());
    assert_eq!(geo.refresh(|_| true), [], "said once");
    fs::remove_file(file.path()).expect("removed");
    assert!(matches!(&geo.refresh(|_| true)[..], [Notice::Failed(_)]));
    assert!(known());
    fs::write(file.path(), Mmdb::new("GeoLite2-City").build()).expect("whole");
    assert!(matches!(&geo.refresh(|_| true)[..], [Notice::Loaded(_)]));
    assert!(!known());
}

#[test]
fn a_file_that_does_not_fit_is_tried_again() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), cities()).expect("written");
    let geo = GeoIp::new(Some(&file.path().to_string_lossy()), None);
    let size = cities().len() as u64;
    let notices = geo.refresh(|bytes| bytes < size);
    assert!(matches!(&notices[..], [Notice::Failed(text)] if text.contains("worker_memory")), "{notices:?}");
    assert!(geo.has_city().is_err());
    assert!(matches!(&geo.refresh(|bytes| bytes <= size)[..], [Notice::Loaded(_)]));
    assert!(geo.has_city().is_ok());
}

#[test]
fn what_is_no_file_is_an_error_and_not_waited_for() {
    for path in ["/nowhere/at/all", "/", "/dev/zero"] {
        let geo = GeoIp::new(None, Some(path));
        assert!(matches!(&geo.refresh(|_| true)[..], [Notice::Failed(_)]), "{path}");
        assert!(geo.has_asn().is_err_and(|reason| !reason.contains(path) || path == "/"), "{path}");
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let good = cities();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut rng = StdRng::seed_from_u64(1);
    let mut readable = 0;
    for round in 0..4_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + rng.next_u32() % 6 {
            let at = rng.next_u32() as usize % bytes.len();
            bytes[at] = rng.next_u32() as u8;
        }
        if round % 10 == 0 {
            bytes.truncate(rng.next_u32() as usize % bytes.len());
        }
        fs::write(file.path(), &bytes).expect("written");
        let path = file.path().to_string_lossy();
        let geo = GeoIp::new(Some(&path), Some(&path));
        geo.refresh(|_| true);
        readable += i32::from(geo.has_city().is_ok());
        for address in ["192.0.2.77", "192.0.3.1", "2001:db8::1", "::", "255.255.255.255"] {
            let _ = (geo.place(ip(address)), geo.owner(ip(address)));
        }
    }
    assert!(readable > 200, "the damage is not always found out at once: {readable}");
}
