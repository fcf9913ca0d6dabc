#![allow(clippy::unwrap_used)]
use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SerialNumber, date_time_ymd};

fn params(cn: &str, sans: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(sans.iter().map(|san| (*san).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "DE");
    params.distinguished_name.push(DnType::OrganizationName, "Relays, Inc");
    params.distinguished_name.push(DnType::CommonName, cn);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params.serial_number = Some(SerialNumber::from(vec![0, 0x0a, 0xbc]));
    params
}

fn authority(cn: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(cn, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(cn: &str, sans: &[&str]) -> Vec<u8> {
    let mut params = params(cn, sans);
    params.use_authority_key_identifier_extension = true;
    params.signed_by(&KeyPair::generate().unwrap(), &authority("root")).unwrap().der().to_vec()
}

#[test]
fn every_field_is_read() {
    let der = leaf("relay.example", &["b.example", "A.example", "192.0.2.7", "2001:db8::1", "a.example"]);
    let certificate = Certificate::parse(&der).unwrap();
    assert_eq!(
        certificate,
        Certificate {
            subject: "C=DE, O=Relays\\, Inc, CN=relay.example".into(),
            subject_cn: Some("relay.example".into()),
            issuer: "C=DE, O=Relays\\, Inc, CN=root".into(),
            issuer_cn: Some("root".into()),
            not_before: 1_577_836_800,
            not_after: 3_786_912_000,
            sans: ["192.0.2.7", "2001:db8::1", "a.example", "b.example"].map(String::from).to_vec(),
            serial: "0abc".into(),
            signature_algorithm: "ecdsa-with-SHA256".into(),
            key_algorithm: "EC".into(),
            key_bits: Some(256),
        }
    );
    assert_eq!(fingerprint(&der).len(), 64);
}

#[test]
fn the_size_of_a_key_is_that_of_its_curve() {
    for (algorithm, name, bits) in [(&rcgen::PKCS_ECDSA_P384_SHA384, "EC", 384), (&rcgen::PKCS_ED25519, "Ed25519", 256)]
    {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = Certificate::parse(params("a", &[]).self_signed(&key).unwrap().der()).unwrap();
        assert_eq!((certificate.key_algorithm.as_str(), certificate.key_bits), (name, Some(bits)));
    }
}

#[test]
fn a_certificate_that_names_itself_is_self_signed_also_as_an_authority() {
    let key = KeyPair::generate().unwrap();
    assert!(is_self_signed(params("a", &["a"]).self_signed(&key).unwrap().der()));
    assert!(is_self_signed(authority("a").der()));
    assert!(!is_self_signed(&leaf("a", &["a"])));
    // The same name as its authority, and another key.
    assert!(!is_self_signed(&leaf("root", &["a"])));
}

#[test]
fn strange_texts_are_cut_and_cleaned() {
    let certificate = Certificate::parse(&leaf(&format!("a\u{0}\n{}", "é".repeat(1000)), &[])).unwrap();
    let cn = certificate.subject_cn.unwrap();
    assert!(cn.starts_with("a\u{FFFD}\u{FFFD}é") && cn.chars().count() == 200, "{cn}");
    let many: Vec<String> = (0..500).map(|n| format!("{n}.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(Certificate::parse(&leaf("a", &many)).unwrap().sans.len(), MAX_NAMES);
}

#[test]
fn no_bytes_make_it_panic() {
    use rand_free::Rng;
    let der = leaf("relay.example", &["relay.example", "192.0.2.7"]);
    assert!(Certificate::parse(&[]).is_none());
    assert!(Certificate::parse(&[0x30; MAX_BYTES + 1]).is_none());
    for end in 0..der.len() {
        assert!(Certificate::parse(&der[..end]).is_none());
    }
    let mut rng = Rng(1);
    for _ in 0..100_000 {
        let mut bytes = der.clone();
        for _ in 0..1 + rng.next() % 4 {
            let at = rng.next() as usize % bytes.len();
            bytes[at] = rng.next() as u8;
        }
        let _ = Certificate::parse(&bytes);
        let _ = is_self_signed(&bytes);
    }
}

/// A generator of a few lines (xorshift), so that a failure repeats.
mod rand_free {
    pub struct Rng(pub u64);
    impl Rng {
        pub fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33
        }
    }
}
