use super::*;

#[test]
fn a_document_has_no_unknown_members_and_is_addressed_by_its_content() {
    let mut members = Members::default();
    members.set("b", Some("a\0b"));
    members.set("a", Some(1.50));
    members.set("empty", Some(""));
    members.set("none", None::<u32>);
    members.list("list", ["x".to_owned()]);
    members.list("nothing", []);
    let fact = Fact::new("nip66_dns", members).expect("members");
    assert_eq!(fact.data, "{\"a\":1.5,\"b\":\"a\u{FFFD}b\",\"list\":[\"x\"]}");
    assert_eq!(fact.id, *Document::from_json(&fact.data).expect("JSON").id());
    assert_eq!(Fact::new("nip66_dns", Members::default()), None);
}

#[test]
fn the_socket_and_the_addresses_are_asked_for_only_by_who_needs_them() {
    let of = |names: &[&str]| {
        let monitor_checks = names.iter().map(|name| (*name).to_owned()).collect();
        Checks::chosen(&Config { monitor_checks, ..Config::default() })
    };
    for (names, socket, addresses) in [
        (&["rtt"][..], true, false),
        (&["ssl"], true, false),
        (&["http"], true, false),
        (&["nip11", "dns"], false, false),
        (&["geo"], false, true),
        (&["net"], false, true),
    ] {
        let checks = of(names);
        assert_eq!((checks.need_socket(), checks.need_addresses()), (socket, addresses), "{names:?}");
        assert_eq!(checks.names(), names);
    }
    assert!(!of(&[]).any());
}
